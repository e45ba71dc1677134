// ShardLife: clients that use every operation of a shard on a CoreRig until the power fails, and
// what they were told meanwhile. After any crash, check() holds what is there against that: what
// was confirmed is there byte for byte, nothing was invented, nothing that was settled comes again.
#pragma once

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/core/snapshot.h"
#include "tests/broker/core/core_rig.h"

namespace waybill {

/// Every object of every shard; of the streams, only where they begin: how far they are flushed is
/// not part of the state.
inline std::vector<std::string> objects_of(CoreRig& rig) {
  std::vector<std::string> all;
  for (const auto& shard : rig.shards) {
    Snapshot::save(*shard, [&](ObjectKind kind, std::uint64_t id, Bytes body) {
      if (kind == ObjectKind::kStream) body = body.first(9);
      all.push_back(std::to_string(static_cast<int>(kind)) + "/" + std::to_string(id) + ": " +
                    std::string(as_text(body)));
    });
  }
  return all;
}

/// Switches the rig on over an image; after `cut` disk calls, if given, the power fails again.
inline Result<void> power_on(CoreRig& rig, SimDiskImage image,
                             std::optional<std::uint64_t> cut = {}) {
  // The old disk stays until what runs on it is gone.
  std::unique_ptr<SimDisk> before =
      std::exchange(rig.disk, std::make_unique<SimDisk>(std::move(image), rig.options.disk));
  return rig.try_restart(keep_all(), cut);
}

/// Where a partition of `orders` begins.
inline std::int64_t start_of(TestClient& client, std::uint32_t partition) {
  Reply<DescribeTopicReply> topic = client.call<DescribeTopicReply>(DescribeTopicRequest{"orders"});
  EXPECT_TRUE(topic.ok());
  return topic ? topic->partitions.at(partition).start.value : 0;
}

/// What clients were told. A value: each crash is held against a copy.
struct Told {
  using Place = std::pair<std::uint32_t, std::int64_t>;  ///< partition and offset of `orders`

  TopicId orders;                                       ///< 0: nobody was told that it exists
  std::map<std::uint32_t, std::set<std::string>> sent;  ///< by partition: what may be there
  std::map<Place, std::string> confirmed;
  std::set<Place> acked;
  std::set<Place> buried;      ///< dead letters, the last thing that was confirmed of them
  std::set<Place> given_back;  ///< perhaps: a redrive or discard was asked for
  bool may_erase = false;      ///< erasing of dead letters was asked for
  std::set<std::pair<std::uint32_t, std::uint64_t>> erased;  ///< partition and number: confirmed
  std::set<std::string> topics;  ///< confirmed, and nobody asked to delete them
  std::set<std::string> deleted;
  TopicId state;                     ///< keeps the latest message of each key; 0: nobody was told
  std::set<std::string> state_sent;  ///< what may be in it
  std::map<std::int64_t, std::string> state_told;  ///< confirmed, by offset; begins with its key
  bool compacts = false;                           ///< there is such a topic in its lives
  bool may_trim = false;  ///< a limit was asked for, so old messages may go
  bool fills = false;     ///< in its lives others fill the disk, and make room again
  std::uint64_t next_value = 0;
  std::uint64_t next_instance = 1;
};

class ShardLife {
 public:
  static constexpr std::uint32_t kPartitions = 3;

  ShardLife(CoreRig& rig, Told& told, std::uint64_t seed) : rig_(rig), told_(told), random_(seed) {}

  /// Until it is done or the power is off. The first time, it makes topics and a group.
  void work(int steps) {
    client_ = &rig_.connect(++told_.next_instance);
    if (told_.orders == TopicId{}) set_up();
    client_->begin<SubscribeReply>(SubscribeRequest{1, "billing"});
    rig_.run();
    if (on()) client_->credit(200, 10'000'000);
    for (int i = 0; on() && i < steps; ++i) {
      step();
      take();
    }
    if (on()) rig_.advance(milliseconds(20));
  }

 private:
  [[nodiscard]] bool on() const { return rig_.ready && !rig_.disk->crashed(); }

  /// The answer, if it came and is good.
  template <class R, class Request>
  std::optional<R> ask(Request request) {
    auto place = client_->begin<R>(std::move(request));
    rig_.run();
    if (!place->has_value() || !(*place)->ok()) return std::nullopt;
    return std::move(***place);
  }

  void set_up() {
    if (!on()) return;
    if (auto made = ask<CreateTopicReply>(CreateTopicRequest{"orders", kPartitions})) {
      told_.orders = made->topic.id;
    }
    GroupPolicy policy = CoreRig::policy();
    policy.brake.enabled = false;
    ask<CreateGroupReply>(
        CreateGroupRequest{"billing", "orders", policy, {StartKind::kEarliest, {}, {}}});
  }

  void step() {
    if (told_.compacts && random_.below(12) == 0) return compact();
    if (told_.fills && random_.below(6) == 0) return rig_.leave_free(random_.below(3) * 400'000);
    switch (random_.below(10)) {
      case 0:
        rig_.advance(milliseconds(random_.below(3000)));
        return;
      case 1:
        return give_back();
      case 2:
        return change_topics();
      case 3:
        return random_.below(3) == 0 ? trim() : fix();
      case 4:
      case 5:
      case 6:
        return publish(1 + random_.below(3));
      default:
        return settle();
    }
  }

  /// Several at once, so that frames are in flight together.
  void publish(std::uint64_t count) {
    if (told_.orders == TopicId{}) return;
    struct Sent {
      std::uint32_t partition;
      std::string value;
      std::shared_ptr<std::optional<Reply<PublishReply>>> reply;
    };
    std::vector<Sent> all;
    for (std::uint64_t i = 0; i < count; ++i) {
      const auto partition = static_cast<std::uint32_t>(random_.below(kPartitions));
      // Its beginning is in no other value.
      std::string value = "#" + std::to_string(told_.next_value++) + "# ";
      value.append(random_.below(4) == 0 ? 6000 : 200 + random_.below(2000), 'x');
      told_.sent[partition].insert(value);
      PublishRequest request;
      request.parts.push_back({told_.orders, {partition}, {}, {}, batch_of({value})});
      auto reply = client_->begin<PublishReply>(std::move(request));
      all.push_back({partition, std::move(value), std::move(reply)});
      rig_.run_without_disk();
    }
    rig_.run();
    for (Sent& one : all) {
      if (!one.reply->has_value() || !**one.reply || !(**one.reply)->parts.front()) continue;
      const Offset at = (**one.reply)->parts.front()->base_offset;
      told_.confirmed[{one.partition, at.value}] = one.value;
    }
  }

  void take() {
    for (Delivered& message : client_->take()) {
      const Told::Place place{message.partition.value, message.offset.value};
      EXPECT_FALSE(told_.acked.contains(place)) << "an acknowledged message came again";
      auto known = told_.confirmed.find(place);
      if (message.redrive == 0 && known != told_.confirmed.end()) {
        EXPECT_EQ(message.value, known->second);
      }
      held_.push_back(std::move(message));
    }
  }

  void settle() {
    for (std::uint64_t i = 0; i < 4 && !held_.empty() && on(); ++i) {
      const std::size_t index = random_.below(held_.size());
      const Delivered message = held_[index];
      held_.erase(held_.begin() + static_cast<std::ptrdiff_t>(index));
      const std::uint64_t fate = random_.below(10);
      const SettleVerb verb = fate < 5   ? SettleVerb::kAck
                              : fate < 7 ? SettleVerb::kRetry
                                         : SettleVerb::kDeadLetter;
      auto reply = ask<SettleReply>(SettleRequest{1, {TestClient::settlement(message, verb)}});
      if (!reply || !reply->outcomes.front()) continue;
      const Told::Place place{message.partition.value, message.offset.value};
      if (verb == SettleVerb::kAck) told_.acked.insert(place);
      if (verb == SettleVerb::kDeadLetter) told_.buried.insert(place);
      if (verb == SettleVerb::kDeadLetter) told_.given_back.erase(place);
    }
  }

  void give_back() {
    told_.given_back.insert(told_.buried.begin(), told_.buried.end());
    const std::uint64_t fate = random_.below(3);
    if (fate == 0) {
      RedriveRequest request;
      request.selection = selection();
      ask<RedriveReply>(request);
      return;
    }
    DiscardRequest request;
    request.selection = selection();
    request.reason = "test";
    request.erase = fate == 2;
    told_.may_erase |= request.erase;
    if (!ask<DiscardReply>(request) || !request.erase) return;
    ListDeadLettersRequest list;
    list.selection = selection();
    list.limit = 1000;
    auto letters = ask<ListDeadLettersReply>(list);
    if (!letters) return;
    for (const DeadLetterSummary& letter : letters->dead_letters) {
      EXPECT_EQ(letter.erased, letter.state != DeadLetterState::kRedriving) << "erased, it said";
      if (letter.erased) told_.erased.emplace(letter.id.partition.value, letter.id.number);
    }
    if (on()) rig_.advance(seconds(3));  // it begins within one
  }

  void fix() {
    ListDeadLettersRequest list;
    list.selection = selection();
    list.selection.state = DeadLetterState::kDead;
    auto letters = ask<ListDeadLettersReply>(list);
    if (!letters || letters->dead_letters.empty()) return;
    const DeadLetterSummary& letter = letters->dead_letters.front();
    EditDeadLetterRequest request;
    request.group = "billing";
    request.id = letter.id;
    request.base_version = letter.versions - 1;
    request.message.value = to_vector(as_bytes(std::string(1000, 'f')));
    request.by = "test";
    ask<EditDeadLetterReply>(request);
  }

  /// The oldest messages go, whoever was not done with them.
  void trim() {
    told_.may_trim = true;
    AlterTopicRequest request{"orders", {}};
    request.policy.drop_above = 24 * 1024;
    ask<AlterTopicReply>(request);
    if (on()) rig_.advance(seconds(11));  // it looks every ten
  }

  /// Topics come, get a few messages, and go again with what is in them.
  void change_topics() {
    if (!told_.topics.empty() && random_.below(2) == 0) {
      const std::string name = *told_.topics.begin();
      told_.topics.erase(name);
      if (ask<DeleteTopicReply>(DeleteTopicRequest{name})) told_.deleted.insert(name);
      return;
    }
    const std::string name = "topic-" + std::to_string(told_.next_value++);
    auto made = ask<CreateTopicReply>(CreateTopicRequest{name, 1});
    if (!made) return;
    told_.topics.insert(name);
    for (int i = 0; i < 3 && on(); ++i) {
      PublishRequest request;
      request.parts.push_back({made->topic.id, {0}, {}, {}, batch_of({std::string(3000, 'y')})});
      ask<PublishReply>(std::move(request));
    }
  }

  /// Enough of few keys for a pass over them.
  void compact() {
    CreateTopicRequest request{"state", 1, TopicPolicy{}};
    request.policy->cleanup = Cleanup::kCompact;
    if (told_.state == TopicId{}) {
      auto made = ask<CreateTopicReply>(request);
      if (!made) return;
      told_.state = made->topic.id;
    }
    for (int i = 0; i < 8 && on(); ++i) {
      const std::string key = "k" + std::to_string(random_.below(2));
      const std::string value =
          key + " " + std::to_string(told_.next_value++) + std::string(2500, 'z');
      told_.state_sent.insert(value);
      PublishRequest publish;
      publish.parts.push_back({told_.state, {0}, {}, {}, batch_of({value}, {1000}, key)});
      auto reply = ask<PublishReply>(std::move(publish));
      if (!reply || !reply->parts.front()) continue;
      told_.state_told[reply->parts.front()->base_offset.value] = value;
    }
    if (on()) rig_.advance(seconds(21));  // it looks every ten
  }

  CoreRig& rig_;
  Told& told_;
  SeededRandom random_;
  TestClient* client_ = nullptr;
  std::vector<Delivered> held_;
};

/// What a recovered rig holds, against what was told.
class ShardCheck {
 public:
  ShardCheck(CoreRig& rig, Told& told) : rig_(rig), told_(told) {}

  /// What is erased has left the files, given time; nothing else has (D18).
  void check_erased() {
    client_ = &rig_.connect(++told_.next_instance);
    ListDeadLettersRequest list;
    list.selection = selection();
    list.limit = 1000;
    Reply<ListDeadLettersReply> listed = client_->call<ListDeadLettersReply>(list);
    if (!listed) return;
    std::vector<std::string> gone;
    for (const DeadLetterSummary& letter : listed->dead_letters) {
      auto known = told_.confirmed.find({letter.id.partition.value, letter.offset.value});
      if (!letter.erased || known == told_.confirmed.end()) continue;
      gone.push_back(known->second.substr(0, known->second.find(' ') + 1));
    }
    if (gone.empty()) return;
    rig_.advance(minutes(2));
    for (const auto& [path, file] : rig_.disk->crash(keep_all()).files) {
      // Those that groups number lie above all others.
      const std::size_t name = path.find("/streams/");
      const bool letters = name != std::string::npos && path[name + 13] == '8';
      if (!letters && !path.contains("checkpoint")) continue;
      const ByteVector bytes = file.bytes();
      for (const std::string& value : gone) {
        EXPECT_FALSE(as_text(bytes).contains(value)) << value << "is in " << path;
      }
    }
    run();
  }

  /// Afterwards, what is not there must never appear: it is struck from what may be.
  void run() {
    client_ = &rig_.connect(++told_.next_instance);
    check_topics();
    if (told_.state != TopicId{}) check_state();
    if (told_.orders == TopicId{}) return;
    for (std::uint32_t p = 0; p < ShardLife::kPartitions; ++p) check_log(p);
    check_group();
  }

 private:
  void check_topics() {
    const std::shared_ptr<const Catalog> catalog = rig_.shards.front()->catalog();
    for (const std::string& name : told_.topics) {
      EXPECT_NE(catalog->topic(name), nullptr) << name << " was created";
    }
    for (const std::string& name : told_.deleted) {
      EXPECT_EQ(catalog->topic(name), nullptr) << name << " was deleted";
    }
  }

  void check_log(std::uint32_t partition) {
    std::set<std::string>& may_be = told_.sent[partition];
    std::set<std::string> found;
    std::int64_t next = start_of(*client_, partition);
    ASSERT_TRUE(next == 0 || told_.may_trim) << "the log begins at " << next;
    for (;;) {
      Reply<ReadReply> read = client_->read(told_.orders, partition, next);
      ASSERT_TRUE(read.ok()) << to_string(read.error());
      if (read->batches.empty()) break;
      for (const SharedBytes& batch : read->batches) {
        ASSERT_TRUE(check_batch_crc(batch.view()).ok());
      }
      for (auto& [offset, value] : records_of(read->batches)) {
        ASSERT_EQ(offset, Offset{next}) << "a gap";
        ASSERT_TRUE(may_be.contains(value)) << "invented at " << next << ": " << value.substr(0, 9);
        ASSERT_TRUE(found.insert(value).second) << "twice: " << value.substr(0, 9);
        auto known = told_.confirmed.find({partition, next});
        if (known != told_.confirmed.end()) {
          ASSERT_EQ(value, known->second) << "at " << next;
        }
        ++next;
      }
    }
    for (auto known = told_.confirmed.lower_bound({partition, next});
         known != told_.confirmed.end() && known->first.first == partition; ++known) {
      FAIL() << "offset " << known->first.second << " of partition " << partition
             << " was confirmed and is lost: the log ends at " << next;
    }
    may_be = std::move(found);
  }

  /// What is not there has a later message of its key (S23).
  void check_state() {
    std::map<std::int64_t, std::string> found;
    for (std::int64_t next = 0;;) {
      Reply<ReadReply> read = client_->read(told_.state, 0, next);
      ASSERT_TRUE(read.ok()) << to_string(read.error());
      if (read->batches.empty()) break;
      for (const SharedBytes& batch : read->batches) {
        ASSERT_TRUE(check_batch_crc(batch.view()).ok());
        next = parse_batch_header(batch.view())->last_offset().value + 1;
      }
      for (auto& [offset, value] : records_of(read->batches)) {
        ASSERT_TRUE(told_.state_sent.contains(value)) << "invented at " << offset.value;
        found[offset.value] = value;
      }
    }
    auto key_of = [](const std::string& value) { return value.substr(0, value.find(' ')); };
    std::map<std::string, std::int64_t> latest;
    for (const auto& [offset, value] : found) latest[key_of(value)] = offset;
    for (const auto& [offset, value] : told_.state_told) {
      auto there = found.find(offset);
      if (there == found.end()) {
        auto later = latest.find(key_of(value));
        ASSERT_TRUE(later != latest.end() && later->second > offset) << offset << " is lost";
      } else {
        ASSERT_EQ(there->second, value) << "at " << offset;
      }
    }
  }

  void check_group() {
    Reply<DescribeGroupReply> group =
        client_->call<DescribeGroupReply>(DescribeGroupRequest{"billing"});
    if (!group) {
      ASSERT_TRUE(told_.acked.empty() && told_.buried.empty()) << "the group is lost";
      return;
    }
    rig_.accounting(*client_, "billing");  // adds up
    std::map<Told::Place, DeadLetterId> letters;
    auto erased_left = static_cast<std::int64_t>(told_.erased.size());
    ListDeadLettersRequest list;
    list.selection = selection();
    list.limit = 1000;
    Reply<ListDeadLettersReply> listed = client_->call<ListDeadLettersReply>(list);
    ASSERT_TRUE(listed.ok()) << to_string(listed.error());
    for (const DeadLetterSummary& letter : listed->dead_letters) {
      const Told::Place place{letter.id.partition.value, letter.offset.value};
      if (letter.state == DeadLetterState::kDead) {
        EXPECT_FALSE(told_.acked.contains(place)) << "dead, but it was acknowledged";
      }
      letters[place] = letter.id;
      check_letter(letter);
      if (letter.erased) --erased_left;
    }
    EXPECT_LE(erased_left, 0) << "something erased is there again (D18)";
    for (const Told::Place& place : told_.acked) {
      const OffsetRange one{Offset{place.second}, Offset{place.second}};
      GroupPartition& partition = rig_.partition_of(group->group.id, place.first);
      EXPECT_TRUE(partition.delivery.is_settled(one)) << "acknowledged and not done";
    }
    for (const Told::Place& place : told_.buried) {
      if (told_.given_back.contains(place) || told_.acked.contains(place)) continue;
      EXPECT_TRUE(letters.contains(place)) << "a dead letter is lost";
    }
  }

  void check_letter(const DeadLetterSummary& letter) {
    Reply<ShowDeadLetterReply> shown =
        client_->call<ShowDeadLetterReply>(ShowDeadLetterRequest{"billing", letter.id});
    ASSERT_TRUE(shown.ok()) << to_string(shown.error());
    if (letter.erased) {
      EXPECT_TRUE(told_.may_erase) << "erased, and nobody asked for it";
      EXPECT_TRUE(shown->versions.empty() && shown->attempts.empty());
      return;
    }
    EXPECT_FALSE(told_.erased.contains({letter.id.partition.value, letter.id.number}));
    auto known = told_.confirmed.find({letter.id.partition.value, letter.offset.value});
    if (known == told_.confirmed.end()) return;
    ASSERT_FALSE(shown->versions.empty());
    EXPECT_EQ(as_text(shown->versions.front().message.value.value()), known->second);
  }

  CoreRig& rig_;
  Told& told_;
  TestClient* client_ = nullptr;
};

}  // namespace waybill
