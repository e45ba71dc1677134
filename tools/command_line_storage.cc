#include "protocol/base/limits.h"
#include "tools/command_options.h"

namespace waybill::cli {
namespace {

constexpr const char* kStopped = "The data directory of a broker that is stopped";

}  // namespace

void add_storage_commands(CLI::App& app, CommandSink& sink) {
  CLI::App* family =
      add_family(app, "storage", "Look into the data directory of a stopped broker; measure disks");
  auto [info, about] = add_command<StorageInfo>(
      *family, "info", "Show shards, what their journals hold, checkpoints and segments", sink);
  info->add_option("directory", about->directory, "A data directory, also of a running broker")
      ->required();

  auto [check, checked] = add_command<StorageCheck>(
      *family, "check", "Verify every checksum; say clean or damaged, and what is lost", sink);
  check->add_option("directory", checked->directory, kStopped)->required();
  check->footer(
      "A torn tail, which is what a power cut leaves of writes that nobody was told of, is no\n"
      "damage. Exit code 0 is clean, 6 damaged, also where nothing is lost by it. Nothing is\n"
      "changed either way.");

  auto [dump, dumped] = add_command<StorageDump>(
      *family, "dump", "Print frames, entries, batches and checkpoint objects field by field",
      sink);
  dump->add_option("directory", dumped->directory, kStopped)->required();
  dump->add_option("--shard", dumped->shard, "Of this shard")
      ->check(CLI::Range(0U, limits::kMaxShards - 1))
      ->capture_default_str();
  dump->add_option("--file", dumped->file,
                   "Blocks and batches of this segment, or objects of this checkpoint, instead of "
                   "the journal: as 'info' and 'check' name it")
      ->type_name("PATH");
  dump->add_option("--from", dumped->from, "From this frame (block, object) on")
      ->type_name("FRAME")
      ->capture_default_str();
  dump->add_option("--count", dumped->count, "At most so many")->capture_default_str();
  dump->add_flag("--records", dumped->records,
                 "Also each record's key, value and headers, long lists whole, and the bytes of "
                 "what cannot be decoded");

  auto [salvage, salvaged] = add_command<StorageSalvage>(
      *family, "salvage", "Say what would be lost of a damaged directory; give it up, if told so",
      sink);
  salvage->add_option("directory", salvaged->directory, kStopped)->required();
  salvage->add_flag("--accept-loss", salvaged->accept_loss,
                    "Do it: make the broker start without what cannot be read");
  salvage->footer(
      "Nothing is erased: what is changed or taken away is in 'quarantine' of its shard, as it "
      "was.\n"
      "Restoring the files that 'check' names from a copy is better, where there is one.");

  auto [probe, probed] = add_command<StorageProbe>(
      *family, "probe",
      "Measure how quickly a directory's disk makes writes durable, and say how the broker will "
      "write there",
      sink);
  probe->add_option("directory", probed->directory, "Any directory that can be written to")
      ->required();
  probe->footer(
      "Writes a file of 64 MiB that has no name and leaves nothing behind. About ten seconds.");
}

}  // namespace waybill::cli
