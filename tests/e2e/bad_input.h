// A broker that is abused, with a bystander who must not notice.
#pragma once

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "tests/broker/server/raw_client.h"
#include "tests/e2e/bystander.h"
#include "tests/e2e/program.h"

namespace waybill {

class BadInput : public testing::Test {
 protected:
  BadInput()
      : broker_(broker_on(directory_.path() / "data",
                          {"--shards", "2", "--journal-file-size", "16MiB"})) {}
  void SetUp() override {
    ASSERT_TRUE(broker_.start());
    bystander_.emplace(broker_);
    bystander_->expect_served("before");
  }
  void TearDown() override {
    if (!bystander_) return;
    bystander_->expect_served("after");
    bystander_.reset();
    EXPECT_EQ(broker_.stop(), 0) << broker_.log();
  }

  std::unique_ptr<RawClient> connect() {
    auto client = std::make_unique<RawClient>(broker_.port());
    EXPECT_TRUE(client->hello().ok());
    return client;
  }
  TopicId make_topic(const std::string& name) {
    Reply<CreateTopicReply> made = bystander_->client().create_topic(name);
    EXPECT_TRUE(made.ok()) << to_string(made.error());
    return made ? made->topic.id : TopicId{};
  }
  Finished waybill(Words words, std::string input = "") {
    words.insert(words.begin(), "waybill");
    return run(std::move(words), {.broker = broker_.address(), .input = std::move(input)});
  }

  TempDirectory directory_;
  BrokerProcess broker_;
  std::optional<Bystander> bystander_;
};

inline CreateGroupRequest group_request(const std::string& name, const std::string& topic) {
  CreateGroupRequest request;
  request.name = name;
  request.topic = topic;
  request.policy.ordering = Ordering::kNone;
  request.start.kind = StartKind::kEarliest;
  return request;
}

/// A consumer that says every frame itself.
class RawConsumer {
 public:
  explicit RawConsumer(std::uint16_t port, std::byte instance = std::byte{9}) : client_(port) {
    HelloRequest hello;
    hello.instance = InstanceId{Uuid{{instance}}};
    hello.instance_start = 1;
    EXPECT_TRUE(client_.hello(hello).ok());
  }
  void subscribe(const std::string& group) {
    Reply<SubscribeReply> reply = client_.ask(SubscribeRequest{1, group});
    ASSERT_TRUE(reply.ok()) << to_string(reply.error());
    client_.request(0, CreditRequest{.subscription = 1, .messages = 10, .bytes = 1 << 20});
  }
  RawClient& client() { return client_; }
  /// The next delivery; it has one range.
  GrantedRange next() {
    std::optional<Frame> frame = client_.receive();
    Reply<DeliverPush> push = frame ? decode_as<DeliverPush>(*frame)
                                    : Reply<DeliverPush>(RequestError(Errc::kConnectionLost, ""));
    EXPECT_TRUE(push.ok()) << client_.transcript();
    return push ? push->ranges.at(0) : GrantedRange{};
  }
  Reply<SettleOutcome> settle(LeaseToken token, OffsetRange range, SettleVerb verb) {
    SettleRequest request{.subscription = 1, .settlements = {}};
    Settlement& one = request.settlements.emplace_back();
    one.token = token;
    one.range = range;
    one.verb = verb;
    Reply<SettleReply> reply = client_.ask(request);
    if (!reply) return reply.error();
    return reply->outcomes.at(0);
  }

 private:
  RawClient client_;
};

}  // namespace waybill
