#include "storage/journal_file.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "protocol/base/mutant.h"

namespace waybill {
namespace {

constexpr std::size_t kNumberDigits = 12;
constexpr std::string_view kJournalSuffix = ".wbj";
constexpr std::string_view kSparePrefix = "spare-";
constexpr std::string_view kFillingSuffix = ".filling";
constexpr std::size_t kZeroBlockSize = 1024 * 1024;

std::string digits(std::uint64_t number) {
  std::string text = std::to_string(number);
  WB_ASSERT(text.size() <= kNumberDigits, "file numbers have twelve digits");
  return std::string(kNumberDigits - text.size(), '0') + text;
}

/// Exactly twelve digits, not all zero; 0 if it is anything else.
std::uint64_t parse_digits(std::string_view text) {
  std::uint64_t number = 0;
  if (text.size() != kNumberDigits) return 0;
  auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), number);
  return problem == std::errc{} && end == text.data() + text.size() ? number : 0;
}

bool take_suffix(std::string_view& text, std::string_view suffix) {
  if (!text.ends_with(suffix)) return false;
  text.remove_suffix(suffix.size());
  return true;
}

Result<void> fill(Disk& disk, FileHandle file, std::uint64_t file_size) {
  for (std::uint64_t position = 0; position < file_size;) {
    const std::size_t size = std::min<std::uint64_t>(kZeroBlockSize, file_size - position);
    Result<void> written = disk.write_now(file, position, zero_block().first(size));
    if (!written) return written;
    position += size;
  }
  return {};
}

}  // namespace

JournalName parse_journal_name(std::string_view name) {
  if (name == kQuarantineName) return {.kind = JournalNameKind::kQuarantine};
  JournalNameKind kind = JournalNameKind::kForeign;
  if (take_suffix(name, kJournalSuffix)) {
    kind = JournalNameKind::kJournal;
  } else if (name.starts_with(kSparePrefix)) {
    name.remove_prefix(kSparePrefix.size());
    kind = take_suffix(name, kFillingSuffix) ? JournalNameKind::kFilling : JournalNameKind::kSpare;
  }
  const std::uint64_t number = parse_digits(name);
  if (number == 0) return {};
  return {.kind = kind, .number = number};
}

std::string journal_name(std::uint64_t number) {
  return digits(number) + std::string(kJournalSuffix);
}
std::string spare_name(std::uint64_t number) {
  return std::string(kSparePrefix) + digits(number);
}
std::string filling_name(std::uint64_t number) {
  return spare_name(number) + std::string(kFillingSuffix);
}

Bytes zero_block() {
  static const AlignedMemory zeros = [] {
    AlignedMemory memory(kZeroBlockSize);
    std::memset(memory.data(), 0, memory.size());
    return memory;
  }();
  return zeros.bytes();
}

Result<void> create_spare(Disk& disk, const std::string& directory, std::uint64_t number,
                          std::uint64_t file_size) {
  const std::string filling = directory + "/" + filling_name(number);
  Result<FileHandle> file = disk.open(filling, OpenMode::kCreate);
  if (!file) return file.error();
  Result<void> filled = fill(disk, *file, file_size);
  disk.close(*file);
  if (!filled) {
    ignore_error(disk.remove(filling), "the next start removes it");
    return filled;
  }
  return disk.rename(filling, directory + "/" + spare_name(number));
}

Result<JournalFile> take_into_use(Disk& disk, const std::string& directory,
                                  std::uint64_t spare_number, const FileHeader& header) {
  const std::string spare = directory + "/" + spare_name(spare_number);
  Result<FileHandle> handle = disk.open(spare, OpenMode::kReadWrite);
  if (!handle) return handle.error();
  JournalFile taken{.header = header, .file = std::make_shared<OpenFile>(disk, *handle)};
  AlignedMemory block(kFileHeaderSize);
  encode_file_header(header, block.bytes());
  if (Result<void> done = disk.write_now(*handle, 0, block.bytes()); !done) return done.error();
  const std::string name = directory + "/" + journal_name(header.file_number);
  if (Result<void> done = disk.rename(spare, name); !done) return done.error();
  Result<void> named =
      mutant("skip_directory_sync") ? Result<void>() : disk.sync_directory(directory);
  if (!named) return named.error();
  return taken;
}

}  // namespace waybill
