// Goal: what is erased (D18) is shown to nobody from then on, its bytes leave the files of the
// dead-letter stream and the checkpoints, and nothing else goes with them, whenever the power
// fails. Method: the whole core with tiny segments; messages, fixes and failures with patterns that
// are looked for in every file the disk holds.
#include <algorithm>

#include "tests/broker/core/core_rig.h"

namespace waybill {
namespace {

/// Its parts: payload, key, header, fix, note of the fix, detail of the failure.
constexpr const char* kParts[] = {"payload", "key", "header", "fix", "note", "detail"};

std::string pattern(const char* part, int number) {
  return std::string("<") + part + "-" + std::to_string(number) + ">";
}

/// Messages of one partition, all of them dead letters; number n is dead letter n + 1.
struct Letters {
  explicit Letters(RigOptions options = {.journal_file = 128 * 1024}) : s(options) {}

  void add(int count) {
    for (int i = 0; i < count; ++i, ++number) {
      BatchBuilder builder;
      const std::string key = pattern("key", number);
      const std::string value = pattern("payload", number) + std::string(1500, '.');
      const std::string header = pattern("header", number);
      RecordDraft draft{as_bytes(key), as_bytes(value), {}, {1000}};
      draft.headers.emplace_back("h", as_bytes(header));
      ASSERT_TRUE(builder.add(draft).ok());
      ASSERT_TRUE(s.client->publish_batch(s.topic, 0, SharedBytes(builder.build())).ok());
    }
    for (std::vector<Delivered> got = s.client->take(); !got.empty(); got = s.client->take()) {
      for (const Delivered& message : got) {
        Settlement death = TestClient::settlement(message, SettleVerb::kDeadLetter);
        death.failure.detail = pattern("detail", static_cast<int>(message.offset.value));
        EXPECT_EQ(*s.client->settle(death), SettleOutcome::kDead);
      }
      s.client->credit(1000);
    }
  }
  [[nodiscard]] DeadLetterId id(int which) const {
    return {GroupId{}, {0}, static_cast<std::uint64_t>(which) + 1};
  }
  Reply<EditDeadLetterReply> fix(int which, std::uint32_t base = 0) {
    EditDeadLetterRequest request{"billing", id(which), base, {}, "ann", pattern("note", which)};
    request.message.value = to_vector(as_bytes(pattern("fix", which)));
    return s.client->call<EditDeadLetterReply>(request);
  }
  Reply<DiscardReply> discard(const std::vector<int>& which, bool erase) {
    DiscardRequest request{selection(), "ann", "asked for", erase};
    for (const int one : which) request.selection.ids.push_back(id(one));
    return s.client->call<DiscardReply>(request);
  }
  Reply<ShowDeadLetterReply> show(int which) {
    return s.client->call<ShowDeadLetterReply>(ShowDeadLetterRequest{"billing", id(which)});
  }
  ListDeadLettersReply list() {
    ListDeadLettersRequest request;
    request.selection = selection();
    Reply<ListDeadLettersReply> reply = s.client->call<ListDeadLettersReply>(request);
    EXPECT_TRUE(reply.ok());
    return reply ? *reply : ListDeadLettersReply{};
  }
  /// Enough for it to be rewritten, named by a checkpoint, and gone.
  void settle() { s.rig.advance(minutes(3)); }
  void restart(const CrashPlan& plan = keep_none()) {
    s.rig.restart(plan);
    s.reconnect();
  }

  /// Whether a part of it is in a checkpoint or in a segment of the dead-letter stream.
  [[nodiscard]] bool in_files(int which) {
    const StreamId stream = s.rig.partition_of(s.group, 0).dead_stream.id();
    const std::string directory = "/" + stream_directory_name(stream) + "/";
    bool found = false;
    for (const auto& [path, file] : s.rig.disk->crash(keep_all()).files) {
      if (!path.contains(directory) && !path.contains("checkpoint")) continue;
      const ByteVector bytes = file.bytes();
      for (const char* part : kParts) found |= as_text(bytes).contains(pattern(part, which));
    }
    return found;
  }
  /// It is as it was before anything was erased.
  void expect_whole(int which) {
    SCOPED_TRACE("dead letter " + std::to_string(which));
    Reply<ShowDeadLetterReply> shown = show(which);
    ASSERT_TRUE(shown.ok()) << shown.error().explanation;
    EXPECT_FALSE(shown->summary.erased);
    ASSERT_FALSE(shown->versions.empty());
    const Message& first = shown->versions.front().message;
    EXPECT_EQ(as_text(*first.value), pattern("payload", which) + std::string(1500, '.'));
    EXPECT_EQ(as_text(*first.key), pattern("key", which));
    ASSERT_EQ(first.headers.size(), 1u);
    EXPECT_EQ(as_text(first.headers[0].value), pattern("header", which));
    ASSERT_FALSE(shown->attempts.empty());
    EXPECT_EQ(shown->attempts.front().failure.detail, pattern("detail", which));
    for (std::size_t i = 1; i < shown->versions.size(); ++i) {
      EXPECT_EQ(as_text(*shown->versions[i].message.value), pattern("fix", which));
      EXPECT_EQ(shown->versions[i].note, pattern("note", which));
    }
  }
  void expect_erased(int which) {
    SCOPED_TRACE("dead letter " + std::to_string(which));
    Reply<ShowDeadLetterReply> shown = show(which);
    ASSERT_TRUE(shown.ok()) << shown.error().explanation;
    EXPECT_TRUE(shown->summary.erased);
    EXPECT_TRUE(shown->versions.empty());
    EXPECT_TRUE(shown->attempts.empty());
    EXPECT_EQ(shown->summary.versions, 0u);
    EXPECT_FALSE(shown->summary.key.has_value());
    EXPECT_EQ(shown->summary.last_failure.detail, "");
  }

  Scene s;
  int number = 0;
};

TEST(Erasing, NothingOfAnErasedDeadLetterIsShownAndTheOthersAreAsTheyWereD18) {
  Letters letters;
  letters.s.client->subscribe("billing");
  letters.add(3);
  ASSERT_TRUE(letters.fix(1).ok());
  ASSERT_TRUE(letters.fix(2).ok());
  Reply<DiscardReply> reply = letters.discard({1}, true);
  ASSERT_TRUE(reply.ok());
  EXPECT_EQ(reply->discarded, 1u);
  EXPECT_EQ(reply->erased, 1u);
  EXPECT_EQ(reply->skipped, 0u);
  for (int round = 0; round < 3; ++round) {
    letters.expect_erased(1);
    letters.expect_whole(0);
    letters.expect_whole(2);
    const ListDeadLettersReply listed = letters.list();
    ASSERT_EQ(listed.dead_letters.size(), 3u);
    EXPECT_EQ(listed.dead_letters[1].state, DeadLetterState::kDiscarded);
    EXPECT_EQ(listed.dead_letters[1].last_failure.code, "broken") << "which kind it was";
    EXPECT_TRUE(listed.dead_letters[1].erased);
    EXPECT_FALSE(listed.dead_letters[1].key.has_value());
    EXPECT_EQ(as_text(*listed.dead_letters[0].key), pattern("key", 0));
    EXPECT_EQ(listed.dead_letters[0].last_failure.detail, pattern("detail", 0));
    for (const FingerprintCount& count : listed.fingerprints) {
      EXPECT_FALSE(count.example.detail.contains(pattern("detail", 1)));
    }
    EXPECT_EQ(letters.s.accounting().discarded, 1u) << "counted as discarded (D19)";
    EXPECT_EQ(letters.s.accounting().dead, 2u);
    EXPECT_EQ(letters.discard({1}, true)->skipped, 1u) << "it is erased already";
    if (round == 1) letters.settle();
    letters.restart();
  }
}

TEST(Erasing, WhatNeedsThePayloadIsRefusedD18) {
  Letters letters({.shards = 2, .journal_file = 128 * 1024});
  letters.s.client->subscribe("billing");
  letters.add(2);
  ASSERT_TRUE(letters.discard({0}, true).ok());
  for (int round = 0; round < 2; ++round) {
    EXPECT_EQ(code_of(letters.fix(0)), Errc::kDeadLetterState);
    RedriveRequest request{selection({letters.id(0)}), false, "ann"};
    EXPECT_EQ(code_of(letters.s.client->call<RedriveReply>(request)), Errc::kDeadLetterState);
    letters.settle();
    letters.restart();
  }
  Reply<RedriveReply> all =
      letters.s.client->call<RedriveReply>(RedriveRequest{selection(), false, "ann"});
  ASSERT_TRUE(all.ok()) << "among others it is only skipped";
  EXPECT_EQ(all->redriven, 1u);
  EXPECT_EQ(all->skipped, 1u);
}

TEST(Erasing, TheBytesOfPayloadFixesAndFailuresLeaveTheFilesD18) {
  Letters letters;
  letters.s.client->subscribe("billing");
  letters.add(40);
  for (int i = 0; i < 40; i += 3) {
    ASSERT_TRUE(letters.fix(i).ok());
    ASSERT_TRUE(letters.fix(i, 1).ok());
  }
  letters.settle();
  EXPECT_TRUE(letters.in_files(3)) << "what is looked for is there";
  EXPECT_TRUE(letters.in_files(39));
  ASSERT_EQ(letters.discard({3, 4, 21, 39}, true)->erased, 4u);
  letters.settle();
  for (int round = 0; round < 2; ++round) {
    for (const int gone : {3, 4, 21, 39}) {
      EXPECT_FALSE(letters.in_files(gone)) << gone;
      letters.expect_erased(gone);
    }
    for (const int left : {0, 2, 5, 20, 22, 38}) letters.expect_whole(left);
    letters.restart();
    EXPECT_TRUE(letters.s.rig.reports[0].moved_aside.empty());
  }
  letters.s.client->subscribe("billing");
  letters.add(2);
  letters.expect_whole(41);
}

TEST(Erasing, WhatIsNotFlushedYetGoesTooAndTheFailuresExampleD18) {
  Letters letters;
  letters.s.client->subscribe("billing");
  letters.add(1);
  ASSERT_TRUE(letters.fix(0).ok());
  ASSERT_EQ(letters.discard({0}, true)->erased, 1u);
  letters.settle();
  EXPECT_FALSE(letters.in_files(0));
  letters.expect_erased(0);
  // The next of its kind stands for it again.
  letters.add(1);
  EXPECT_EQ(letters.list().fingerprints.at(0).example.detail, pattern("detail", 1));
}

TEST(Erasing, DiscardedAndRedrivenOnesCanBeErasedLaterAndWhatIsUnderWayCannotD18) {
  Letters letters;
  letters.s.client->subscribe("billing");
  letters.add(3);
  ASSERT_EQ(letters.discard({0}, false)->discarded, 1u);
  RedriveRequest request{selection({letters.id(1)}), false, "ann"};
  ASSERT_TRUE(letters.s.client->call<RedriveReply>(request).ok());
  const Delivered again = letters.s.client->take().at(0);
  Reply<DiscardReply> reply = letters.discard({0, 1}, true);
  EXPECT_EQ(reply->discarded, 0u);
  EXPECT_EQ(reply->erased, 1u);
  EXPECT_EQ(reply->skipped, 1u) << "its payload is on its way";
  letters.expect_whole(1);
  ASSERT_TRUE(letters.s.client->ack(again).ok());
  EXPECT_EQ(letters.discard({1}, true)->erased, 1u);
  letters.settle();
  for (int round = 0; round < 2; ++round) {
    letters.expect_erased(0);
    letters.expect_erased(1);
    letters.expect_whole(2);
    EXPECT_EQ(letters.show(1)->summary.state, DeadLetterState::kRedriven);
    EXPECT_EQ(letters.s.accounting().discarded, 1u);
    EXPECT_EQ(letters.s.accounting().done, 1u);
    EXPECT_FALSE(letters.in_files(0));
    EXPECT_FALSE(letters.in_files(1));
    letters.restart();
  }
}

TEST(Erasing, AHeldMessageFollowsWhenWhatHeldItIsErasedD12D18) {
  GroupPolicy policy = CoreRig::policy();
  policy.ordering = Ordering::kKey;
  policy.on_dead_letter = OnDeadLetter::kHold;
  Scene s({}, 1, policy);
  s.client->subscribe("billing");
  ASSERT_TRUE(s.client->publish_batch(s.topic, 0, batch_of({"a"}, {1000}, "k")).ok());
  ASSERT_TRUE(s.client->publish_batch(s.topic, 0, batch_of({"b"}, {1000}, "k")).ok());
  ASSERT_TRUE(s.client->bury(s.client->take().at(0)).ok());
  EXPECT_TRUE(s.client->take().empty());
  DiscardRequest request{selection(), "ann", "asked for", true};
  ASSERT_TRUE(s.client->call<DiscardReply>(request).ok());
  const std::vector<Delivered> next = s.client->take();
  ASSERT_EQ(next.size(), 1u);
  EXPECT_EQ(next[0].value, "b");
}

TEST(Erasing, WhoIsJustLookingGetsAllOfItOrNothingD18) {
  for (int turns = 0; turns < 40; ++turns) {
    Letters letters({.journal_file = 128 * 1024, .tail_cache = 1});
    letters.s.client->subscribe("billing");
    letters.add(3);
    ASSERT_TRUE(letters.fix(1).ok());
    letters.settle();
    ASSERT_TRUE(letters.discard({1}, false).ok());
    auto erased = letters.s.client->begin<DiscardReply>(
        DiscardRequest{selection({letters.id(1)}), "ann", "", true});
    for (int i = 0; i < turns; ++i) {
      letters.s.rig.clock.advance(milliseconds(200));
      letters.s.rig.run_without_disk();
      letters.s.rig.disk->submit();
      if (letters.s.rig.disk->pending() > 0) letters.s.rig.disk->wait();
    }
    auto shown = letters.s.client->begin<ShowDeadLetterReply>(
        ShowDeadLetterRequest{"billing", letters.id(1)});
    ListDeadLettersRequest list;
    list.selection = selection();
    auto listed = letters.s.client->begin<ListDeadLettersReply>(list);
    letters.settle();
    ASSERT_TRUE(shown->has_value() && listed->has_value() && erased->has_value());
    ASSERT_TRUE(**listed);
    EXPECT_EQ((**listed)->dead_letters.size(), 3u);
    if (**shown) {
      EXPECT_EQ((**shown)->summary.erased, (**shown)->versions.empty());
    } else {
      EXPECT_EQ(code_of(**shown), Errc::kDeadLetterState);
    }
    EXPECT_FALSE(letters.in_files(1));
  }
}

TEST(Erasing, OneAfterTheOtherLeavesFewFilesAndAllThatIsLeftD18) {
  Letters letters;
  letters.s.client->subscribe("billing");
  letters.add(30);
  for (int i = 0; i < 30; i += 2) {
    ASSERT_TRUE(letters.discard({i}, true).ok());
    letters.settle();
  }
  const Stream& stream = letters.s.rig.partition_of(letters.s.group, 0).dead_stream;
  EXPECT_LE(stream.segments().size(), 4u);
  for (int i = 0; i < 30; ++i) {
    if (i % 2 == 1) letters.expect_whole(i);
    EXPECT_EQ(letters.in_files(i), i % 2 == 1) << i;
  }
}

TEST(Erasing, OnAFullDiskItWaitsAndGoesOnOnceThereIsRoomS21) {
  Letters letters;
  letters.s.client->subscribe("billing");
  letters.add(10);
  letters.settle();
  ASSERT_TRUE(letters.discard({5}, true).ok());
  std::uint64_t used = 0;
  for (const auto& [path, file] : letters.s.rig.disk->crash(keep_all()).files) used += file.size();
  letters.s.rig.disk->set_capacity(used);
  letters.settle();
  EXPECT_TRUE(letters.in_files(5));
  letters.expect_erased(5);
  letters.s.rig.disk->set_capacity(UINT64_MAX);
  letters.settle();
  EXPECT_FALSE(letters.in_files(5));
  for (const int left : {0, 4, 6, 9}) letters.expect_whole(left);
}

TEST(Erasing, AlsoOfAnArchiveD15D18) {
  Letters letters;
  letters.s.client->subscribe("billing");
  letters.add(4);
  letters.settle();
  ASSERT_TRUE(letters.s.client->call<UnsubscribeReply>(UnsubscribeRequest{1}).ok());
  DeleteGroupRequest request{"billing", false, true};
  ASSERT_TRUE(letters.s.client->call<DeleteGroupReply>(request).ok());
  ASSERT_EQ(letters.discard({2}, true)->erased, 1u);
  letters.restart();
  letters.settle();
  EXPECT_FALSE(letters.in_files(2));
  letters.expect_erased(2);
  letters.expect_whole(3);
}

TEST(Erasing, AGroupThatIsDeletedMeanwhileLeavesNothing) {
  for (int turns = 0; turns < 30; turns += 3) {
    Letters letters;
    letters.s.client->subscribe("billing");
    letters.add(12);
    ASSERT_TRUE(letters.discard({2, 7}, true).ok());
    for (int i = 0; i < turns; ++i) {
      letters.s.rig.clock.advance(milliseconds(400));
      letters.s.rig.run_without_disk();
      letters.s.rig.disk->submit();
      if (letters.s.rig.disk->pending() > 0) letters.s.rig.disk->wait();
    }
    const std::string directory =
        "/" +
        stream_directory_name(letters.s.rig.partition_of(letters.s.group, 0).dead_stream.id());
    ASSERT_TRUE(letters.s.client->call<UnsubscribeReply>(UnsubscribeRequest{1}).ok());
    DeleteGroupRequest request{"billing", true};
    ASSERT_TRUE(letters.s.client->call<DeleteGroupReply>(request).ok());
    letters.settle();
    for (const auto& [path, file] : letters.s.rig.disk->crash(keep_all()).files) {
      EXPECT_FALSE(path.contains(directory)) << path;
    }
    letters.restart(keep_all());
    EXPECT_TRUE(letters.s.rig.reports[0].moved_aside.empty());
  }
}

TEST(Erasing, WheneverThePowerFailsItIsTakenUpAgainAndNothingElseGoesD18) {
  bool over = false;
  for (std::uint64_t cut = 0; !over; ++cut) {
    SCOPED_TRACE("cut at call " + std::to_string(cut));
    Letters letters;
    letters.s.client->subscribe("billing");
    letters.add(12);
    ASSERT_TRUE(letters.fix(7).ok());
    if (cut % 2 == 0) letters.settle();
    letters.s.rig.disk->crash_after(cut);
    auto reply = letters.s.client->begin<DiscardReply>(
        DiscardRequest{selection({letters.id(2), letters.id(7)}), "ann", "", true});
    letters.s.rig.advance(minutes(3));
    over = !letters.s.rig.disk->crashed();
    const bool told = reply->has_value() && (**reply).ok();
    letters.restart(keep_random(cut, 50));
    EXPECT_TRUE(letters.s.rig.reports[0].moved_aside.empty());
    for (const int which : {2, 7}) {
      const bool erased = letters.show(which)->summary.erased;
      EXPECT_TRUE(erased || !told) << "it was confirmed";
      letters.s.rig.advance(minutes(3));
      EXPECT_EQ(letters.in_files(which), !erased) << which;
      erased ? letters.expect_erased(which) : letters.expect_whole(which);
    }
    for (int i = 0; i < 12; ++i) {
      if (i != 2 && i != 7) letters.expect_whole(i);
    }
    letters.restart();
    EXPECT_TRUE(letters.s.rig.reports[0].moved_aside.empty());
    ASSERT_FALSE(HasFailure());
  }
}

}  // namespace
}  // namespace waybill
