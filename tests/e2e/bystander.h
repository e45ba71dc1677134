// A well-behaved client that lives beside the badly-behaved ones of a test: whatever they do, it
// publishes a message and reads it back. And a look at the memory of the broker that serves both.
#pragma once

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "client/blocking_client.h"
#include "protocol/record/batch_view.h"
#include "tests/support/broker_process.h"

namespace waybill {

inline BrokerProcess::Options broker_on(const std::filesystem::path& data,
                                        std::vector<std::string> arguments = {}) {
  BrokerProcess::Options options;
  options.data_directory = data;
  options.arguments = std::move(arguments);
  return options;
}

inline ClientOptions client_of(const BrokerProcess& broker, const std::string& name = "test") {
  ClientOptions options;
  options.endpoints = {broker.address()};
  options.client_name = name;
  return options;
}

class Bystander {
 public:
  explicit Bystander(const BrokerProcess& broker) : client_(client_of(broker, "bystander")) {
    Reply<CreateTopicReply> made = client_.create_topic("bystander");
    EXPECT_TRUE(made.ok()) << to_string(made.error());
    if (made) topic_ = made->topic.id;
  }

  /// Publishes a message and reads it back, on the one connection it has had all the time.
  void expect_served(const std::string& when) {
    std::string text = "message " + std::to_string(++count_) + " " + when;
    Message message;
    message.value = to_vector(as_bytes(text));
    Reply<PublishReceipt> receipt = client_.publish("bystander", message);
    ASSERT_TRUE(receipt.ok()) << when << ": " << to_string(receipt.error());
    EXPECT_EQ(read(receipt->offset), text) << when;
  }

  BlockingClient& client() { return client_; }

 private:
  std::string read(Offset offset) {
    ReadRequest request;
    request.topic = topic_;
    request.from = offset;
    Reply<ReadReply> reply = client_.request(request);
    if (!reply || reply->batches.empty()) return "not read";
    std::string text = "not found";
    Result<BatchReader> batch = BatchReader::open(reply->batches.front().view());
    if (!batch) return "not readable";
    Result<void> read = batch->for_each([&](const RecordView& record) {
      if (record.offset == offset) text = as_text(*record.value);
      return true;
    });
    return read ? text : "not readable";
  }

  BlockingClient client_;
  TopicId topic_;
  int count_ = 0;
};

/// Memory that a process has in RAM.
inline std::uint64_t resident_kib(pid_t pid) {
  std::ifstream status("/proc/" + std::to_string(pid) + "/status");
  std::string word;
  while (status >> word) {
    if (word != "VmRSS:") continue;
    std::uint64_t size = 0;
    status >> size;
    return size;
  }
  ADD_FAILURE() << "no VmRSS of process " << pid;
  return 0;
}

#ifdef WAYBILL_SANITIZED
inline constexpr bool kMemoryIsTheProgramsOwn = false;  ///< shadow memory counts too
#else
inline constexpr bool kMemoryIsTheProgramsOwn = true;
#endif

}  // namespace waybill
