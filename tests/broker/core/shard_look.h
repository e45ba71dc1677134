// Sound, Look: a shard while it was sound, and what it serves after something happened to its
// files. Whatever is served must be right; only a definite error may be in its place.
#pragma once

#include <set>

#include "tests/broker/core/shard_life.h"

namespace waybill {

/// A stopped shard, and what its readers were served while it was sound.
struct Sound {
  SimDiskImage image;
  TopicId orders;
  std::map<Told::Place, std::string> messages;
  std::map<DeadLetterId, std::string> letters;  ///< their originals; of what is erased, nothing
  std::vector<std::string> objects;
};

inline std::string original_of(const ShowDeadLetterReply& shown) {
  if (shown.versions.empty()) return {};
  return std::string(as_text(shown.versions.front().message.value.value()));
}

/// What is served now, against what was; only a definite error may be in its place.
class Look {
 public:
  Look(CoreRig& rig, const Sound& sound) : rig_(rig), sound_(sound), client_(&rig.connect(99)) {}

  std::set<Told::Place> unread_messages;
  std::set<Told::Place> beyond_the_end;  ///< of these
  bool any_file = false;                 ///< errors may name any
  bool may_end = false;                  ///< the log may end before what was there once

  /// Messages and dead letters that are not served; each was named, with that file.
  std::size_t unread(const std::string& path) {
    path_ = path;
    std::size_t count = 0;
    for (std::uint32_t p = 0; p < ShardLife::kPartitions; ++p) count += unread_in(p);
    for (const auto& [id, value] : sound_.letters) count += letter_unread(id, value) ? 1 : 0;
    return count;
  }

 private:
  std::size_t unread_in(std::uint32_t partition) {
    std::size_t count = 0;
    std::int64_t next = 0;
    for (auto at = sound_.messages.lower_bound({partition, 0});
         at != sound_.messages.end() && at->first.first == partition; ++at) {
      if (at->first.second < next) continue;
      Reply<ReadReply> read = client_->read(sound_.orders, partition, at->first.second);
      if (!read) {
        ++count;
        unread_messages.insert(at->first);
        check_words(read.error(), at->first.second);
        continue;
      }
      if (read->batches.empty()) {
        EXPECT_TRUE(may_end) << "acknowledged messages are gone without a word";
        unread_messages.insert(at->first);
        beyond_the_end.insert(at->first);
      }
      for (const auto& [offset, value] : records_of(read->batches)) {
        auto known = sound_.messages.find({partition, offset.value});
        EXPECT_TRUE(known != sound_.messages.end() && known->second == value) << "wrong bytes";
        next = offset.value + 1;
      }
    }
    return count;
  }

  /// The message names the file, the position in it, and the offsets.
  void check_words(const RequestError& error, std::int64_t offset) {
    EXPECT_EQ(error.code, may_end ? error.code : Errc::kDamaged) << to_string(error);
    if (any_file) return;
    EXPECT_NE(error.explanation.find(path_ + " at position "), std::string::npos)
        << to_string(error);
    EXPECT_NE(error.explanation.find("offsets "), std::string::npos) << offset << to_string(error);
  }

  bool letter_unread(DeadLetterId id, const std::string& value) {
    Reply<ShowDeadLetterReply> shown =
        client_->call<ShowDeadLetterReply>(ShowDeadLetterRequest{"billing", id});
    if (!shown) {
      EXPECT_EQ(shown.error().code, may_end ? shown.error().code : Errc::kDamaged)
          << to_string(shown.error());
      return true;
    }
    // That it was erased may be what is lost.
    if (!may_end || !value.empty()) {
      EXPECT_EQ(original_of(*shown), value) << "wrong bytes";
    }
    return false;
  }

  CoreRig& rig_;
  const Sound& sound_;
  TestClient* client_;
  std::string path_;
};

/// A few blocks per file.
inline RigOptions tiny() {
  return {.journal_file = 96 * 1024,
          .tail_cache = 4 * 1024,
          .flush = {.segment_size = 8 * 1024, .step = 2048, .max_open = 2, .max_files = 4}};
}

inline void keep_messages(CoreRig& rig, Sound& sound) {
  TestClient& client = rig.connect(98);
  for (std::uint32_t p = 0; p < ShardLife::kPartitions; ++p) {
    for (std::int64_t next = start_of(client, p);;) {
      Reply<ReadReply> read = client.read(sound.orders, p, next);
      ASSERT_TRUE(read.ok()) << to_string(read.error());
      if (read->batches.empty()) break;
      for (auto& [offset, value] : records_of(read->batches)) {
        sound.messages[{p, offset.value}] = value;
        next = offset.value + 1;
      }
    }
  }
  ListDeadLettersRequest list;
  list.selection = selection();
  list.limit = 1000;
  Reply<ListDeadLettersReply> letters = client.call<ListDeadLettersReply>(list);
  ASSERT_TRUE(letters.ok());
  for (const DeadLetterSummary& letter : letters->dead_letters) {
    Reply<ShowDeadLetterReply> shown =
        client.call<ShowDeadLetterReply>(ShowDeadLetterRequest{"billing", letter.id});
    ASSERT_TRUE(shown.ok());
    sound.letters[letter.id] = original_of(*shown);
  }
}

/// A clean stop writes an idle mark: then nothing at all may be taken for a torn tail (S5).
inline Sound make_sound(CoreRig& rig, Told& told, int steps, bool marked = true) {
  Sound sound;
  ShardLife(rig, told, 7).work(steps);
  sound.orders = told.orders;
  rig.clients.clear();
  rig.run();
  keep_messages(rig, sound);
  rig.clients.clear();
  if (marked) rig.advance(milliseconds(20));
  sound.objects = objects_of(rig);
  sound.image = rig.disk->crash(keep_all());
  EXPECT_GT(sound.messages.size(), 30u);
  EXPECT_GT(sound.letters.size(), 3u);
  return sound;
}

}  // namespace waybill
