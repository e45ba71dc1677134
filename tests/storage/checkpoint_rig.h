// A checkpoint being written on a SimDisk, object by object, and read back.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "storage/checkpoint_reader.h"
#include "storage/checkpoint_writer.h"
#include "storage/io/sim_disk.h"

namespace waybill {

inline constexpr const char* kCheckpointDirectory = "shard-3";
inline constexpr ShardIndex kCheckpointShard{3};

/// Kind, id, applied, body.
using KeptObject = std::tuple<unsigned, std::uint64_t, std::uint64_t, std::string>;

inline SimDiskImage image_with_shard() {
  SimDisk disk;
  WB_ASSERT(disk.make_directory(kCheckpointDirectory).ok(), "a new disk is empty");
  return disk.crash(keep_all());
}

inline void finish_operations(Disk& disk) {
  while (disk.pending() > 0) {
    disk.submit();
    disk.wait();
  }
}

class CheckpointRig {
 public:
  CheckpointRig(Disk& disk, std::uint64_t number) : disk_(disk), number_(number) {}

  Result<void> create() {
    Result<std::unique_ptr<CheckpointWriter>> created = CheckpointWriter::create(
        disk_, kCheckpointDirectory, {.shard = kCheckpointShard, .number = number_});
    if (!created) return created.error();
    writer = std::move(*created);
    return {};
  }
  void add(std::uint64_t id, std::uint64_t applied, std::string body) {
    writer->add(
        {.kind = 1, .version = 1, .id = id, .applied = EntrySeq{applied}, .body = as_bytes(body)});
    objects.emplace_back(1, id, applied, std::move(body));
  }
  void finish(std::uint64_t replay_from = 1) {
    writer->finish(
        {.replay_from = EntrySeq{replay_from}, .journal_file = 2, .time = WallTime{1000}});
    finish_operations(disk_);
  }

  std::unique_ptr<CheckpointWriter> writer;
  std::vector<KeptObject> objects;

 private:
  Disk& disk_;
  std::uint64_t number_;
};

inline Result<std::vector<KeptObject>> read_checkpoint(Disk& disk, std::uint64_t number,
                                                       CheckpointSummary* summary = nullptr) {
  Result<CheckpointReader> reader = CheckpointReader::open(
      disk, kCheckpointDirectory, {.shard = kCheckpointShard, .number = number});
  if (!reader) return reader.error();
  std::vector<KeptObject> objects;
  for (;;) {
    Result<std::optional<CheckpointObject>> object = reader->next();
    if (!object) return object.error();
    if (!object->has_value()) break;
    const CheckpointObject& one = **object;
    objects.emplace_back(one.kind, one.id, one.applied.value, std::string(as_text(one.body)));
  }
  if (summary != nullptr) *summary = reader->summary();
  return objects;
}

}  // namespace waybill
