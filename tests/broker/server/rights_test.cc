// Goal: where a broker has users, nobody gets in without a user's token, and each user may do
// exactly what their rights say (D18), under their own name.
// Method: a real broker in this process, raw clients of users with one right each; every kind of
// request is tried by every user, and what is let through is compared with a table in words.
#include <gtest/gtest.h>
#include <openssl/sha.h>

#include <array>
#include <map>
#include <set>

#include "broker/server/users.h"
#include "tests/broker/server/raw_client.h"

namespace waybill {
namespace {

std::string token_of(const std::string& user) {
  return "the token of " + user;
}

std::string line_of(const std::string& user, const std::string& rights) {
  std::string token = token_of(user);
  std::array<unsigned char, 32> hash{};
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  std::string line = user + " ";
  for (unsigned char byte : hash) {
    line += "0123456789abcdef"[byte >> 4];
    line += "0123456789abcdef"[byte & 15];
  }
  return line + " " + rights + "\n";
}

/// A user for each right, named as it; one with all and one with none.
Config with_users() {
  std::string text = line_of("nothing", "");
  std::string all;
  for (Right right : all_rights()) {
    std::string word(name(right));
    text += line_of(word, word);
    all += word + " ";
  }
  text += line_of("everything", all) + line_of("keeper", "admin discard") +
          line_of("limited",
                  "publish:orders consume:bill* consume:orders view:billing admin "
                  "fix:billing redrive:billing discard:billing");
  Config config;
  config.http.reset();
  config.log_level = LogLevel::kOff;
  config.users = std::make_shared<const Users>(Users::parse(text).value());
  return config;
}

class RightsTest : public testing::Test {
 protected:
  struct Guest : RawClient {
    Guest(std::uint16_t port, const std::string& user) : RawClient(port) {
      HelloRequest request;
      request.instance.uuid.bytes[0] = std::byte{7};
      request.user = user;
      request.token = token_of(user);
      greeted = hello(request);
      EXPECT_TRUE(greeted.ok()) << user << ": " << to_string(greeted.error());
    }
    Reply<HelloReply> greeted = RequestError(Errc::kClosed, "");
  };

  RequestError refused(const std::string& user, const std::string& token) {
    RawClient client(broker_.port());
    HelloRequest request;
    request.user = user;
    request.token = token;
    Reply<HelloReply> reply = client.hello(request);
    EXPECT_FALSE(reply.ok()) << user << " came in with " << token;
    EXPECT_TRUE(client.at_end()) << "and may try again on the same connection";
    return reply ? RequestError(Errc::kClosed, "") : reply.error();
  }

  /// A group over a topic of one message, which is a dead letter of it.
  void make_dead_letter() {
    Guest all(broker_.port(), "everything");
    TopicInfo topic = all.ask(CreateTopicRequest{"orders", 1}).value().topic;
    CreateGroupRequest group;
    group.name = "billing";
    group.topic = "orders";
    group.policy.ordering = Ordering::kNone;
    group.start.kind = StartKind::kEarliest;
    ASSERT_TRUE(all.ask(group).ok());
    ASSERT_TRUE(all.ask(publish_to(topic.id, batch_of(10)))->parts.at(0).ok());
    ASSERT_TRUE(all.ask(SubscribeRequest{1, "billing"}).ok());
    ASSERT_TRUE(all.request(50, CreditRequest{1, 1, 1000}));
    Reply<DeliverPush> push = decode_as<DeliverPush>(*all.receive());
    ASSERT_TRUE(push.ok());
    Settlement dead;
    dead.token = push->ranges.at(0).token;
    dead.range = push->ranges.at(0).range;
    dead.verb = SettleVerb::kDeadLetter;
    dead.failure = {FailureClass::kInvalid, "bad", "not a number"};
    Reply<SettleReply> settled = all.ask(SettleRequest{1, {dead}});
    ASSERT_TRUE(settled.ok() && settled->outcomes.at(0).ok());
  }

  LocalBroker broker_{with_users()};
};

TEST_F(RightsTest, D18NobodyComesInWithoutAUsersOwnToken) {
  EXPECT_EQ(refused("", "").code, Errc::kUnauthenticated);
  EXPECT_EQ(refused("view", "").code, Errc::kUnauthenticated);
  EXPECT_EQ(refused("", token_of("view")).code, Errc::kUnauthenticated);
  EXPECT_EQ(refused("view", token_of("admin")).code, Errc::kUnauthenticated);
  EXPECT_EQ(refused("view", token_of("view") + "x").code, Errc::kUnauthenticated);
  EXPECT_EQ(refused("View", token_of("view")).code, Errc::kUnauthenticated);
  EXPECT_EQ(refused(std::string("view\0", 5), token_of("view")).code, Errc::kUnauthenticated);
  RequestError wrong_token = refused("view", "guess");
  RequestError no_such_user = refused("veiw", "guess");
  EXPECT_EQ(wrong_token.explanation.find("guess"), std::string::npos) << "tokens are not repeated";
  EXPECT_EQ(no_such_user.explanation.find("veiw") - no_such_user.explanation.find('"'), 1u);
  std::string same = no_such_user.explanation;
  same.replace(same.find("veiw"), 4, "view");
  EXPECT_EQ(wrong_token.explanation, same) << "nobody learns which users there are";
}

TEST_F(RightsTest, ANameOrTokenThatIsTooLongIsRefusedBeforeItIsLookedUp) {
  EXPECT_EQ(refused("view", std::string(limits::kMaxToken + 1, 'x')).code, Errc::kInvalidRequest);
  EXPECT_EQ(refused(std::string(limits::kMaxNameLength + 1, 'x'), "x").code, Errc::kInvalidRequest);
  EXPECT_EQ(
      refused(std::string(limits::kMaxNameLength, 'x'), std::string(limits::kMaxToken, 'x')).code,
      Errc::kUnauthenticated);
}

TEST_F(RightsTest, NothingIsAnsweredBeforeHelloAndASecondHelloMakesNobodyElseOfAUser) {
  RawClient hasty(broker_.port());
  hasty.request(1, MetadataRequest{});
  EXPECT_EQ(hasty.receive_error().code, Errc::kHelloRequired);
  EXPECT_TRUE(hasty.at_end());

  Guest guest(broker_.port(), "nothing");
  HelloRequest again;
  again.user = "everything";
  again.token = token_of("everything");
  guest.request(7, again);
  EXPECT_EQ(guest.receive_error().code, Errc::kInvalidRequest);
  EXPECT_EQ(guest.ask(CreateTopicRequest{"t", 1}).error().code, Errc::kNotAuthorized);
}

TEST_F(RightsTest, APipelineBehindAWrongTokenIsNotServed) {
  RawClient client(broker_.port());
  HelloRequest wrong;
  wrong.user = "everything";
  wrong.token = "guess";
  ByteVector bytes = RawClient::flat(encode_request(1, wrong));
  ByteVector create = RawClient::flat(encode_request(2, CreateTopicRequest{"smuggled", 1}));
  bytes.insert(bytes.end(), create.begin(), create.end());
  client.send_bytes(bytes);
  EXPECT_EQ(client.receive_error().code, Errc::kUnauthenticated);
  EXPECT_TRUE(client.at_end());
  Guest all(broker_.port(), "everything");
  EXPECT_TRUE(all.ask(MetadataRequest{})->catalog.topics.empty());
}

/// What each right opens, in words: what every user may is not repeated. A kind that the protocol
/// gets has to be put here too.
const std::map<std::string, std::set<std::string>> kOpened = {
    {"nothing", {"hello", "ping", "metadata", "describe_topic", "describe_group"}},
    {"publish", {"open_producer", "publish"}},
    {"consume", {"read", "subscribe", "unsubscribe", "credit", "settle", "extend"}},
    {"view", {"list_dead_letters", "show_dead_letter"}},
    {"fix", {"edit_dead_letter"}},
    {"redrive", {"redrive"}},
    {"discard", {"discard"}},
    {"admin",
     {"create_topic", "alter_topic", "delete_topic", "list_producers", "remove_producer",
      "create_group", "alter_group", "delete_group", "pause_group", "set_brake", "reset_group",
      "check_group"}}};

TEST_F(RightsTest, D18EveryRightOpensItsKindsAndNoOther) {
  std::set<std::string> seen;
  for (const auto& [user, opened] : kOpened) {
    Guest guest(broker_.port(), user);
    std::uint32_t correlation = 100;
    for (const RequestKindFacts& kind : all_request_kinds()) {
      if (kind.pushed) continue;
      std::string what(kind.name);
      bool open = opened.contains(what) || kOpened.at("nothing").contains(what);
      if (open) seen.insert(what);
      // Empty requests: what is let through fails later, or does nothing.
      guest.request_kind(++correlation, static_cast<std::uint16_t>(kind.kind));
      if (open && !kind.answered) continue;
      std::optional<Frame> frame = guest.receive();
      ASSERT_TRUE(frame.has_value()) << user << " asks for " << what;
      EXPECT_EQ(frame->header.correlation, correlation);
      bool forbidden = frame->header.type == FrameType::kError &&
                       decode_error(*frame).code == Errc::kNotAuthorized;
      EXPECT_EQ(forbidden, !open) << user << " asks for " << what;
      if (!forbidden) continue;
      std::string said = decode_error(*frame).explanation;
      EXPECT_NE(said.find("\"" + std::string(name(kind.right)) + "\""), std::string::npos) << said;
    }
    EXPECT_TRUE(guest.ask(PingRequest{}).ok()) << "the conversation goes on";
  }
  for (const RequestKindFacts& kind : all_request_kinds()) {
    EXPECT_TRUE(kind.pushed || seen.contains(std::string(kind.name))) << "nobody may " << kind.name;
  }
}

TEST_F(RightsTest, D18WhatThrowsDeadLettersAwayOnTheSideNeedsTheRightToDiscard) {
  make_dead_letter();
  ResetGroupRequest reset;
  reset.name = "billing";
  reset.start.kind = StartKind::kEarliest;
  reset.include_dead = true;
  DeleteGroupRequest remove{"billing", true};
  Guest admin(broker_.port(), "admin");
  for (const RequestError& error : {admin.ask(reset).error(), admin.ask(remove).error()}) {
    EXPECT_EQ(error.code, Errc::kNotAuthorized);
    EXPECT_NE(error.explanation.find("\"discard\""), std::string::npos) << error.explanation;
  }
  reset.include_dead = false;
  EXPECT_TRUE(admin.ask(reset).ok());
  EXPECT_EQ(admin.ask(DeleteGroupRequest{"billing", false}).error().code, Errc::kOpenDeadLetters);
  Guest keeper(broker_.port(), "keeper");
  EXPECT_TRUE(keeper.ask(remove).ok());
}

TEST_F(RightsTest, D18WhoRepairedIsTheUserWhateverTheRequestSays) {
  make_dead_letter();
  Guest viewer(broker_.port(), "view");
  ListDeadLettersRequest list;
  list.selection.group = "billing";
  Reply<ListDeadLettersReply> listed = viewer.ask(list);
  ASSERT_TRUE(listed.ok()) << to_string(listed.error());
  Guest fixer(broker_.port(), "fix");
  EditDeadLetterRequest edit;
  edit.group = "billing";
  edit.id = listed->dead_letters.at(0).id;
  edit.message.value = to_vector(as_bytes("5"));
  edit.by = "somebody else";
  edit.note = "was no number";
  Reply<EditDeadLetterReply> edited = fixer.ask(edit);
  ASSERT_TRUE(edited.ok()) << to_string(edited.error());
  Reply<ShowDeadLetterReply> shown = viewer.ask(ShowDeadLetterRequest{"billing", edit.id});
  ASSERT_TRUE(shown.ok()) << to_string(shown.error());
  ASSERT_EQ(shown->versions.size(), 2u);
  EXPECT_EQ(shown->versions.at(1).by, "fix");
  EXPECT_EQ(shown->versions.at(1).note, "was no number");
}

TEST_F(RightsTest, D18LimitedRightsStopAtTheirTopicsAndGroups) {
  make_dead_letter();
  Guest all(broker_.port(), "everything");
  TopicInfo orders = all.ask(MetadataRequest{{"orders"}})->catalog.topics.at(0);
  TopicInfo other = all.ask(CreateTopicRequest{"orders2", 1}).value().topic;
  CreateGroupRequest group;
  group.name = "shipping";
  group.topic = "orders";
  group.policy.ordering = Ordering::kNone;
  group.start.kind = StartKind::kEarliest;
  ASSERT_TRUE(all.ask(group).ok());

  Guest limited(broker_.port(), "limited");
  EXPECT_TRUE(limited.ask(publish_to(orders.id, batch_of(1)))->parts.at(0).ok());
  PublishRequest both = publish_to(orders.id, batch_of(1));
  both.parts.push_back(publish_to(other.id, batch_of(1)).parts.front());
  EXPECT_EQ(limited.ask(both).error().code, Errc::kNotAuthorized) << "not even a part of it";
  EXPECT_EQ(limited.ask(read_from(orders.id))->end, Offset{2});
  EXPECT_EQ(limited.ask(read_from(other.id)).error().code, Errc::kNotAuthorized);
  EXPECT_EQ(limited.ask(read_from(TopicId{99})).error().code, Errc::kUnknownPartition);
  OpenProducerRequest producer;
  producer.id.uuid.bytes[0] = std::byte{1};
  EXPECT_TRUE(limited.ask(producer).ok());

  for (const std::string name : {"billing", "shipping", "nothing"}) {
    const bool may = name == "billing";
    auto check = [&](const auto& reply) {
      EXPECT_EQ(!reply.ok() && reply.error() == Errc::kNotAuthorized, !may) << name;
      if (may) return;
      EXPECT_TRUE(reply.error().explanation.contains("for this topic or group"))
          << reply.error().explanation;
    };
    ListDeadLettersRequest list;
    list.selection.group = name;
    check(limited.ask(list));
    check(limited.ask(ShowDeadLetterRequest{name, {}}));
    EditDeadLetterRequest edit;
    edit.group = name;
    check(limited.ask(edit));
    RedriveRequest redrive;
    redrive.selection.group = name;
    redrive.selection.code = "no such code";
    check(limited.ask(redrive));
    DiscardRequest discard;
    discard.selection = redrive.selection;
    check(limited.ask(discard));
    check(limited.ask(SubscribeRequest{may ? 1U : 2U, name}));
    ResetGroupRequest reset;
    reset.name = name;
    reset.start.kind = StartKind::kEarliest;
    reset.include_dead = true;
    check(limited.ask(reset));
  }
  SettleRequest settle;
  settle.subscription = 1;
  Reply<SettleReply> settled = limited.ask(settle);
  EXPECT_TRUE(settled.ok() || settled.error() != Errc::kNotAuthorized);
  EXPECT_TRUE(limited.ask(UnsubscribeRequest{1}).ok());
}

TEST(Rights, WithoutUsersANameAndATokenMeanNothing) {
  Config config;
  config.http.reset();
  LocalBroker broker(config);
  RawClient client(broker.port());
  HelloRequest hello;
  hello.user = "anybody";
  hello.token = "anything";
  ASSERT_TRUE(client.hello(hello).ok());
  EXPECT_TRUE(client.ask(CreateTopicRequest{"t", 1}).ok());
}

}  // namespace
}  // namespace waybill
