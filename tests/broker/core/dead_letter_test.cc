// Goal: a message that cannot be processed is kept with its payload and history, can be looked at,
// fixed, sent back or discarded, and is counted exactly once all the way. Method: CoreRig; every
// decision is checked again after a power cut.
#include <algorithm>

#include "broker/core/entries.h"
#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

ListDeadLettersReply list(Scene& s, ListDeadLettersRequest request = {}) {
  request.selection.group = "billing";
  Reply<ListDeadLettersReply> reply = s.client->call<ListDeadLettersReply>(request);
  EXPECT_TRUE(reply.ok());
  return reply ? *reply : ListDeadLettersReply{};
}
ShowDeadLetterReply show(Scene& s, DeadLetterId id) {
  Reply<ShowDeadLetterReply> reply =
      s.client->call<ShowDeadLetterReply>(ShowDeadLetterRequest{"billing", id});
  EXPECT_TRUE(reply.ok());
  return reply ? *reply : ShowDeadLetterReply{};
}
Reply<EditDeadLetterReply> edit(Scene& s, DeadLetterId id, std::uint32_t base,
                                const std::string& value) {
  EditDeadLetterRequest request{"billing", id, base, {}, "ann", "fixed the colour"};
  request.message.value = to_vector(as_bytes(value));
  return s.client->call<EditDeadLetterReply>(request);
}
RedriveReply redrive(Scene& s, const DeadLetterSelection& which = selection(),
                     bool override_limit = false) {
  Reply<RedriveReply> reply =
      s.client->call<RedriveReply>(RedriveRequest{which, override_limit, "ann"});
  EXPECT_TRUE(reply.ok());
  return reply ? *reply : RedriveReply{};
}
std::string text_of(const Message& message) {
  return std::string(as_text(*message.value));
}
void cut(Scene& s, bool subscribe = true) {
  s.rig.restart();
  s.reconnect();
  if (subscribe) s.client->subscribe("billing");
}

TEST(DeadLetters, AfterTheLastAllowedFailureTheMessageIsDeadWithItsHistoryD14) {
  Scene s;
  s.publish(0, {"good", "bad"});
  s.client->subscribe("billing");
  std::vector<Delivered> got = s.client->take();
  ASSERT_TRUE(s.client->ack(got[0]).ok());
  Delivered bad = got[1];
  for (int attempt = 1; attempt <= 3; ++attempt) {
    if (attempt == 2) {  // counted durably (D3)
      cut(s, false);
    }
    if (attempt > 1) {
      if (attempt == 2) s.client->subscribe("billing");
      s.rig.advance(seconds(1));
      bad = s.client->take().at(0);
    }
    EXPECT_EQ(bad.failures, static_cast<std::uint32_t>(attempt - 1));
    Reply<SettleOutcome> outcome =
        s.client->retry(bad, FailureClass::kFailed, "code" + std::to_string(attempt));
    EXPECT_EQ(*outcome, attempt < 3 ? SettleOutcome::kDelayed : SettleOutcome::kDead);
  }
  for (int round = 0; round < 2; ++round) {
    ListDeadLettersReply letters = list(s);
    ASSERT_EQ(letters.dead_letters.size(), 1u);
    const DeadLetterSummary& summary = letters.dead_letters[0];
    EXPECT_EQ(summary.offset, Offset{1});
    EXPECT_EQ(summary.reason, DeadLetterReason::kMaxFailures);
    EXPECT_EQ(summary.failures, 3u);
    EXPECT_EQ(summary.deliveries, 3u);
    ShowDeadLetterReply shown = show(s, summary.id);
    EXPECT_EQ(shown.topic, "orders");
    ASSERT_EQ(shown.versions.size(), 1u);
    EXPECT_EQ(text_of(shown.versions[0].message), "bad");
    EXPECT_TRUE(shown.versions[0].message.headers.empty()) << "the broker's notes are not shown";
    EXPECT_EQ(shown.versions[0].message.timestamp, WallTime{1000});
    ASSERT_EQ(shown.attempts.size(), 3u);
    for (std::uint32_t i = 0; i < 3; ++i) {
      EXPECT_EQ(shown.attempts[i].delivery, i + 1);
      EXPECT_EQ(shown.attempts[i].failure.code, "code" + std::to_string(i + 1));
      EXPECT_EQ(shown.attempts[i].consumer, s.client->instance);
    }
    EXPECT_EQ(s.accounting().dead, 1u);
    EXPECT_EQ(s.accounting().done, 1u);
    cut(s);
    EXPECT_TRUE(s.client->pushes.empty());
  }
}

TEST(DeadLetters, TheBirthIsOneChangeHoweverThePowerFailsD14S3) {
  for (std::uint64_t operations = 0;; ++operations) {
    Scene s;
    s.publish(0, {"bad"});
    s.client->subscribe("billing");
    Delivered bad = s.client->take().at(0);
    s.rig.disk->crash_after(operations);
    auto reply = s.client->begin<SettleReply>(
        SettleRequest{1, {TestClient::settlement(bad, SettleVerb::kDeadLetter)}});
    s.rig.run();
    bool crashed = s.rig.disk->crashed();
    bool confirmed = reply->has_value() && **reply && (**reply)->outcomes[0].ok();
    s.rig.restart(keep_random(operations, 50));
    s.reconnect();
    Accounting accounting = s.accounting();
    EXPECT_EQ(accounting.dead + accounting.leased, 1u);
    if (confirmed) {
      ASSERT_EQ(accounting.dead, 1u);
    }
    if (accounting.dead == 1) {
      EXPECT_EQ(text_of(show(s, list(s).dead_letters.at(0).id).versions[0].message), "bad");
    }
    if (!crashed) break;
  }
}

TEST(DeadLetters, WhatIsInvalidOrAskedForDiesAtOnce) {
  Scene s;
  s.publish(0, {"invalid", "asked", "range1", "range2"});
  s.client->subscribe("billing");
  std::vector<Delivered> got = s.client->take();
  EXPECT_EQ(*s.client->retry(got[0], FailureClass::kInvalid, "schema"), SettleOutcome::kDead);
  EXPECT_EQ(*s.client->bury(got[1]), SettleOutcome::kDead);
  Settlement both = TestClient::settlement(got[2], SettleVerb::kDeadLetter);
  both.range = {{2}, {3}};
  EXPECT_EQ(*s.client->settle(both), SettleOutcome::kDead);
  EXPECT_EQ(code_of(s.client->ack(got[0])), Errc::kAlreadySettled);
  cut(s);
  ListDeadLettersReply letters = list(s);
  ASSERT_EQ(letters.dead_letters.size(), 4u);
  EXPECT_EQ(letters.dead_letters[0].reason, DeadLetterReason::kInvalid);
  EXPECT_EQ(letters.dead_letters[1].reason, DeadLetterReason::kRequested);
}

TEST(DeadLetters, TheDeliveryLimitEndsWhatLoopsForEverD3) {
  Scene s({.max_deliveries = 4});
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  for (int i = 0; i < 4; ++i) {
    Delivered message = s.client->take().at(0);
    ASSERT_TRUE(s.client->settle(TestClient::settlement(message, SettleVerb::kRelease)).ok());
  }
  EXPECT_TRUE(s.client->pushes.empty());
  cut(s);  // its release and its death were of one turn: they are replayed in that order
  ListDeadLettersReply letters = list(s);
  ASSERT_EQ(letters.dead_letters.size(), 1u);
  EXPECT_EQ(letters.dead_letters[0].reason, DeadLetterReason::kDeliveryLimit);
  EXPECT_EQ(letters.dead_letters[0].deliveries, 4u);
  EXPECT_EQ(letters.dead_letters[0].failures, 0u);
}

TEST(DeadLetters, OfManyAttemptsTheNewestAreKept) {
  constexpr std::size_t kAttempts = limits::kMaxAttemptHistory + 4;
  GroupPolicy policy = CoreRig::policy();
  policy.max_failures = kAttempts;
  policy.brake.enabled = false;
  Scene s({}, 1, policy);
  s.publish(0, {"bad"});
  s.client->subscribe("billing");
  for (std::size_t i = 1; i <= kAttempts; ++i) {
    std::vector<Delivered> got = s.client->take();
    ASSERT_EQ(got.size(), 1u) << i;
    ASSERT_TRUE(s.client->retry(got[0], FailureClass::kFailed, std::to_string(i)).ok());
    if (i < kAttempts) {
      EXPECT_EQ(s.tracked(0)->attempts.size(), std::min(i, limits::kMaxAttemptHistory));
    }
    if (i == kAttempts / 2) cut(s);
    s.rig.advance(seconds(1));
  }
  ListDeadLettersReply letters = list(s);
  ASSERT_EQ(letters.dead_letters.size(), 1u);
  EXPECT_EQ(letters.dead_letters[0].failures, kAttempts);
  ShowDeadLetterReply shown = show(s, letters.dead_letters[0].id);
  ASSERT_EQ(shown.attempts.size(), limits::kMaxAttemptHistory);
  EXPECT_EQ(shown.attempts.front().failure.code, "5");
  EXPECT_EQ(shown.attempts.back().failure.code, std::to_string(kAttempts));
}

TEST(DeadLetters, TwentyUnexplainedEndsAreACrashLoopD10) {
  Scene s;
  s.publish(0, {"killer"});
  for (std::uint64_t i = 1; i <= 20; ++i) {
    EXPECT_EQ(s.accounting().dead, 0u) << i;
    TestClient& victim = s.rig.connect(100 + i);
    victim.subscribe("billing");
    ASSERT_EQ(victim.take().size(), 1u) << i;
    cut(s, false);
    s.rig.advance(seconds(10));
  }
  ListDeadLettersReply letters = list(s);
  ASSERT_EQ(letters.dead_letters.size(), 1u);
  EXPECT_EQ(letters.dead_letters[0].reason, DeadLetterReason::kCrashLoop);
  EXPECT_EQ(letters.dead_letters[0].failures, 0u) << "nobody failed it";
}

TEST(DeadLetters, AFixIsANewVersionAndNobodysFixIsOverwritten) {
  Scene s;
  s.publish(0, {"bad"});
  s.client->subscribe("billing");
  ASSERT_TRUE(s.client->bury(s.client->take().at(0)).ok());
  DeadLetterId id = list(s).dead_letters.at(0).id;
  EXPECT_EQ(edit(s, id, 0, "better")->version, 1u);
  EXPECT_EQ(code_of(edit(s, id, 0, "mine")), Errc::kDeadLetterState);
  EXPECT_EQ(code_of(edit(s, id, 2, "mine")), Errc::kDeadLetterState);
  // Both at the same moment: one of them has to look again.
  EditDeadLetterRequest request{"billing", id, 1, {}, "ann", ""};
  request.message.value = to_vector(as_bytes("first"));
  auto first = s.client->begin<EditDeadLetterReply>(request);
  request.message.value = to_vector(as_bytes("second"));
  auto second = s.client->begin<EditDeadLetterReply>(request);
  s.rig.run();
  EXPECT_EQ((**first)->version, 2u);
  EXPECT_EQ(code_of(**second), Errc::kDeadLetterState);
  cut(s);
  ShowDeadLetterReply shown = show(s, id);
  ASSERT_EQ(shown.versions.size(), 3u);
  EXPECT_EQ(text_of(shown.versions[0].message), "bad") << "the original is untouched";
  EXPECT_EQ(text_of(shown.versions[1].message), "better");
  EXPECT_EQ(text_of(shown.versions[2].message), "first");
  EXPECT_EQ(shown.versions[1].by, "ann");
  EXPECT_EQ(shown.versions[1].note, "fixed the colour");
  EXPECT_EQ(shown.versions[1].message.timestamp, WallTime{1000});
  EXPECT_EQ(shown.summary.versions, 3u);
  EXPECT_EQ(list(s).dead_letters.at(0).versions, 3u);
  id.number = 77;
  EXPECT_EQ(code_of(edit(s, id, 0, "x")), Errc::kUnknownDeadLetter);
}

TEST(DeadLetters, ARedriveDeliversTheFixAndEndsWithItsAcknowledgement) {
  Scene s({.tail_cache = 1});
  s.publish(0, {"good", "bad"});
  s.client->subscribe("billing");
  std::vector<Delivered> got = s.client->take();
  ASSERT_TRUE(s.client->ack(got[0]).ok());
  ASSERT_TRUE(s.client->bury(got[1]).ok());
  DeadLetterId id = list(s).dead_letters.at(0).id;
  ASSERT_TRUE(edit(s, id, 0, "fixed").ok());
  EXPECT_EQ(redrive(s).redriven, 1u);
  EXPECT_EQ(redrive(s).redriven, 0u) << "repeated, it skips what is under way";
  std::vector<Delivered> again = s.client->take();
  ASSERT_EQ(again.size(), 1u);
  EXPECT_EQ(again[0].value, "fixed");
  EXPECT_EQ(again[0].offset, Offset{1}) << "the offset it was born with";
  EXPECT_EQ(again[0].redrive, 1u);
  EXPECT_EQ(again[0].failures, 0u);
  EXPECT_EQ(again[0].delivery, 1u);
  EXPECT_EQ(list(s).dead_letters.at(0).state, DeadLetterState::kRedriving);
  EXPECT_EQ(code_of(edit(s, id, 1, "x")), Errc::kDeadLetterState) << "under way (D16)";
  EXPECT_EQ(s.accounting().dead, 0u);
  EXPECT_EQ(s.accounting().leased, 1u);
  cut(s);
  EXPECT_TRUE(s.client->ack(again[0]).ok());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(s.accounting().done, 2u);
    EXPECT_EQ(list(s).dead_letters.at(0).state, DeadLetterState::kRedriven);
    EXPECT_EQ(list(s).dead_letters.at(0).versions, 2u);
    cut(s);
    EXPECT_TRUE(s.client->pushes.empty());
  }
}

TEST(DeadLetters, ARedriveIsAsDurableAsItsConfirmation) {
  Scene s;
  s.publish(0, {"bad"});
  s.client->subscribe("billing");
  ASSERT_TRUE(s.client->bury(s.client->take().at(0)).ok());
  s.client->session->close();
  s.rig.run();
  EXPECT_EQ(redrive(s).redriven, 1u);
  cut(s);
  EXPECT_EQ(s.client->take().size(), 1u);
}

TEST(DeadLetters, WhatFailsAgainKeepsItsNumberAndItsWholeHistory) {
  GroupPolicy policy = CoreRig::policy();
  policy.max_failures = 1;
  Scene s({}, 1, policy);
  s.publish(0, {"bad"});
  s.client->subscribe("billing", 100);
  ASSERT_TRUE(s.client->retry(s.client->take().at(0), FailureClass::kFailed, "one").ok());
  DeadLetterId id = list(s).dead_letters.at(0).id;
  ASSERT_TRUE(edit(s, id, 0, "still bad").ok());
  EXPECT_EQ(redrive(s).redriven, 1u);
  Delivered again = s.client->take().at(0);
  EXPECT_EQ(*s.client->retry(again, FailureClass::kFailed, "two"), SettleOutcome::kDead);
  cut(s);
  ListDeadLettersReply letters = list(s);
  ASSERT_EQ(letters.dead_letters.size(), 1u);
  EXPECT_EQ(letters.dead_letters[0].id, id);
  EXPECT_EQ(letters.dead_letters[0].state, DeadLetterState::kDead);
  EXPECT_EQ(letters.dead_letters[0].redrives, 1u);
  EXPECT_EQ(letters.dead_letters[0].failures, 2u);
  EXPECT_EQ(letters.dead_letters[0].versions, 2u);
  ShowDeadLetterReply shown = show(s, id);
  ASSERT_EQ(shown.attempts.size(), 2u);
  EXPECT_EQ(shown.attempts[0].failure.code, "one");
  EXPECT_EQ(shown.attempts[1].failure.code, "two");
  ASSERT_EQ(shown.versions.size(), 2u);
  ASSERT_TRUE(edit(s, id, 1, "good").ok());
  EXPECT_EQ(redrive(s).redriven, 1u);
  again = s.client->take().at(0);
  EXPECT_EQ(again.value, "good");
  EXPECT_EQ(again.redrive, 2u);
}

TEST(DeadLetters, ARedriveLoopStopsAtItsLimitUnlessToldOtherwiseD16) {
  Scene s({.shards = 2}, 2);
  s.publish(0, {"bad"});
  s.client->subscribe("billing", 100);
  Delivered message = s.client->take().at(0);
  for (std::uint32_t i = 0; i < limits::kMaxRedrives; ++i) {
    ASSERT_TRUE(s.client->bury(message).ok());
    ASSERT_EQ(redrive(s).redriven, 1u);
    message = s.client->take().at(0);
  }
  ASSERT_TRUE(s.client->bury(message).ok());
  EXPECT_EQ(code_of(s.client->call<RedriveReply>(RedriveRequest{selection(), false, ""})),
            Errc::kRedriveLimit);
  s.publish(1, {"fresh"});
  ASSERT_TRUE(s.client->bury(s.client->take().at(0)).ok());
  RedriveReply some = redrive(s);
  EXPECT_EQ(some.redriven, 1u);
  EXPECT_EQ(redrive(s, selection(), true).redriven, 1u);
}

TEST(DeadLetters, DiscardedOnesStayCountedAndAreNotRedriven) {
  Scene s;
  s.publish(0, {"a", "b"});
  s.client->subscribe("billing");
  for (const Delivered& message : s.client->take()) ASSERT_TRUE(s.client->bury(message).ok());
  DeadLetterSelection one = selection({{GroupId{}, {0}, 1}});
  Reply<DiscardReply> reply =
      s.client->call<DiscardReply>(DiscardRequest{one, "ann", "not needed"});
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->discarded, 1u);
  reply = s.client->call<DiscardReply>(DiscardRequest{one, "ann", "not needed"});
  EXPECT_EQ(reply->discarded, 0u);
  EXPECT_EQ(reply->skipped, 1u);
  cut(s);
  EXPECT_EQ(s.accounting().discarded, 1u);
  EXPECT_EQ(s.accounting().dead, 1u);
  EXPECT_EQ(redrive(s).redriven, 1u);
  EXPECT_EQ(s.client->take().at(0).value, "b");
  EXPECT_EQ(code_of(edit(s, {s.group, {0}, 1}, 0, "x")), Errc::kDeadLetterState);
}

TEST(DeadLetters, AnIdOfAnEarlierGroupOfTheNameMeansNothingD1) {
  Scene s;
  s.publish(0, {"a"});
  s.client->subscribe("billing");
  ASSERT_TRUE(s.client->bury(s.client->take().at(0)).ok());
  DeadLetterId old = list(s).dead_letters.at(0).id;
  ASSERT_TRUE(s.client->call<UnsubscribeReply>(UnsubscribeRequest{1}).ok());
  ASSERT_TRUE(s.client->call<DeleteGroupReply>(DeleteGroupRequest{"billing", true}).ok());
  s.group = s.rig.create_group(*s.client, "billing", "orders");
  s.client->subscribe("billing");
  ASSERT_TRUE(s.client->bury(s.client->take().at(0)).ok());
  EXPECT_EQ(code_of(s.client->call<ShowDeadLetterReply>(ShowDeadLetterRequest{"billing", old})),
            Errc::kUnknownDeadLetter);
  DeadLetterSelection stale = selection({old});
  EXPECT_EQ(s.client->call<DiscardReply>(DiscardRequest{stale, "", ""})->discarded, 0u);
  EXPECT_EQ(redrive(s, selection({old})).redriven, 0u);
  old.group = s.group;
  EXPECT_EQ(redrive(s, selection({old})).redriven, 1u);
}

TEST(DeadLetters, AListShowsTheOwnFailureOfEachAlsoWhenTheyShareAFingerprint) {
  Scene s;
  s.publish(0, {"a", "b"});
  s.client->subscribe("billing");
  for (const Delivered& message : s.client->take()) {
    Settlement settlement = TestClient::settlement(message, SettleVerb::kDeadLetter);
    settlement.failure.detail = "order " + std::to_string(message.offset.value) + " is broken";
    ASSERT_TRUE(s.client->settle(settlement).ok());
  }
  ListDeadLettersReply page = list(s);
  EXPECT_EQ(page.fingerprints.size(), 1u);
  ASSERT_EQ(page.dead_letters.size(), 2u);
  EXPECT_EQ(page.dead_letters[0].last_failure.detail, "order 0 is broken");
  EXPECT_EQ(page.dead_letters[1].last_failure.detail, "order 1 is broken");
}

TEST(DeadLetters, ListsAreFilteredPagedAndCountedByFingerprint) {
  Scene s({.shards = 2}, 3);
  for (std::uint32_t p = 0; p < 3; ++p) s.publish(p, {"a", "b", "c", "d"});
  s.client->subscribe("billing");
  int i = 0;
  for (const Delivered& message : s.client->take()) {
    ASSERT_TRUE(s.client->bury(message, i++ % 3 == 0 ? "rare" : "common").ok());
  }
  for (int round = 0; round < 2; ++round) {
    ListDeadLettersRequest request;
    request.limit = 5;
    std::vector<DeadLetterId> seen;
    for (int pages = 1;; ++pages) {
      ListDeadLettersReply page = list(s, request);
      ASSERT_EQ(page.fingerprints.size(), 2u) << "over the whole selection";
      EXPECT_EQ(page.fingerprints[0].count + page.fingerprints[1].count, 12u);
      for (const DeadLetterSummary& letter : page.dead_letters) seen.push_back(letter.id);
      if (!page.more) {
        EXPECT_EQ(pages, 3);
        break;
      }
      ASSERT_EQ(page.dead_letters.size(), 5u);
      request.after = page.dead_letters.back().id;
    }
    ASSERT_EQ(seen.size(), 12u);
    EXPECT_TRUE(std::ranges::is_sorted(seen));
    ListDeadLettersRequest rare;
    rare.selection.code = "rare";
    ListDeadLettersReply found = list(s, rare);
    ASSERT_EQ(found.dead_letters.size(), 4u);
    ListDeadLettersRequest by_print;
    by_print.selection.fingerprint = found.dead_letters[0].fingerprint;
    EXPECT_EQ(list(s, by_print).dead_letters.size(), 4u);
    ListDeadLettersRequest by_state;
    by_state.selection.state = DeadLetterState::kDiscarded;
    EXPECT_EQ(list(s, by_state).dead_letters.size(), 0u);
    ListDeadLettersRequest by_id;
    by_id.selection.ids = {seen[3], seen[7]};
    EXPECT_EQ(list(s, by_id).dead_letters.size(), 2u);
    cut(s);
  }
}

TEST(DeadLetters, AMessageWhosePayloadCannotBeReadStaysAliveUntilItCan) {
  Scene s({.tail_cache = 1});
  s.publish(0, {"needle"});
  s.client->subscribe("billing");
  Delivered message = s.client->take().at(0);
  auto flip = [&] {
    Result<std::vector<std::string>> names = s.rig.disk->list("shard-0/journal");
    for (const std::string& name : *names) {
      std::string path = "shard-0/journal/" + name;
      Result<FileHandle> file = s.rig.disk->open(path, OpenMode::kRead);
      ByteVector bytes(static_cast<std::size_t>(*s.rig.disk->size(*file)));
      ASSERT_TRUE(s.rig.disk->read_now(*file, 0, bytes).ok());
      s.rig.disk->close(*file);
      for (std::string_view text : {"needle", "oeedle"}) {
        auto at = as_text(bytes).find(text);
        if (at != std::string_view::npos) s.rig.disk->flip_bit(path, at);
      }
    }
  };
  flip();
  EXPECT_EQ(*s.client->bury(message), SettleOutcome::kDelayed) << "neither lost nor stuck";
  EXPECT_EQ(s.accounting().delayed, 1u);
  EXPECT_EQ(s.accounting().dead, 0u);
  flip();
  s.rig.advance(seconds(60));
  message = s.client->take().at(0);
  EXPECT_EQ(message.value, "needle");
  EXPECT_EQ(*s.client->bury(message), SettleOutcome::kDead);
}

/// Recounts the states of a group from the answers that a consumer and an operator get, with
/// nothing of the broker's own sums.
TEST(DeadLetters, EveryMessageIsInExactlyOneStateRecountedD19) {
  Scene s({.shards = 2}, 2);
  for (std::uint32_t p = 0; p < 2; ++p) {
    s.publish(p, {"0", "1", "2", "3", "4", "5", "6", "7", "8", "9"});
  }
  s.client->subscribe("billing", 16);
  std::vector<Delivered> got = s.client->take();
  ASSERT_EQ(got.size(), 16u);
  for (std::size_t i = 0; i < 3; ++i) ASSERT_TRUE(s.client->ack(got[i]).ok());
  for (std::size_t i = 3; i < 5; ++i) ASSERT_TRUE(s.client->retry(got[i]).ok());
  for (std::size_t i = 5; i < 12; ++i) ASSERT_TRUE(s.client->bury(got[i]).ok());
  ListDeadLettersReply letters = list(s);
  DeadLetterSelection two = selection({letters.dead_letters[0].id, letters.dead_letters[1].id});
  ASSERT_EQ(s.client->call<DiscardReply>(DiscardRequest{two, "", ""})->discarded, 2u);
  ASSERT_EQ(redrive(s, selection({letters.dead_letters[2].id})).redriven, 1u);
  for (int round = 0; round < 2; ++round) {
    Accounting a = s.accounting();
    EXPECT_EQ(a.done, 3u);
    EXPECT_EQ(a.leased, 4u);
    EXPECT_EQ(a.delayed, 2u);
    EXPECT_EQ(a.dead, 4u);
    EXPECT_EQ(a.discarded, 2u);
    EXPECT_EQ(a.ready, 5u) << "four never delivered and one redriven";
    EXPECT_EQ(a.sum(), 20u);
    cut(s, false);
  }
}

}  // namespace
}  // namespace waybill
