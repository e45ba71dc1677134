// The files of a journal directory: their names, how one is taken into use, and the spare that is
// prepared ahead. FORMAT.md has the grammar of the names.
//
// A file is filled with zeros before its first frame, because a write into blocks that were written
// before needs no change of the file system's own metadata: measured, half the time and a quarter
// of the CPU of a write that extends a file. It is taken into use in an order that leaves no doubt
// after a crash (S1): header, durably; the journal name; the directory. So whatever bears a journal
// file's name has a good header, or is damaged.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "storage/aligned_memory.h"
#include "storage/format.h"
#include "storage/io/disk.h"

namespace waybill {

enum class JournalNameKind : std::uint8_t {
  kJournal,     ///< 000000000001.wbj: has a header and frames
  kSpare,       ///< spare-000000000002: zero-filled to its end, durably
  kFilling,     ///< spare-000000000002.filling: not finished; worthless after a crash
  kQuarantine,  ///< the directory of what recovery moved aside
  kForeign,     ///< not ours
};
struct JournalName {
  JournalNameKind kind = JournalNameKind::kForeign;
  std::uint64_t number = 0;
};
JournalName parse_journal_name(std::string_view name);
std::string journal_name(std::uint64_t number);
std::string spare_name(std::uint64_t number);
std::string filling_name(std::uint64_t number);
inline constexpr std::string_view kQuarantineName = "quarantine";

/// Zeros for filling files, 1 MiB, shared by every journal of the process.
Bytes zero_block();

/// An open file, closed with its last user.
class OpenFile {
 public:
  OpenFile(Disk& disk, FileHandle handle) : disk_(&disk), handle_(handle) {}
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;
  ~OpenFile() { disk_->close(handle_); }
  [[nodiscard]] FileHandle handle() const { return handle_; }

 private:
  Disk* disk_;
  FileHandle handle_;
};
using OpenFilePointer = std::shared_ptr<OpenFile>;

/// A journal file in use: the one that frames are written to.
struct JournalFile {
  FileHeader header;
  OpenFilePointer file;
};

/// Creates a finished spare, blocking. What is left of it after an error is removed.
Result<void> create_spare(Disk& disk, const std::string& directory, std::uint64_t number,
                          std::uint64_t file_size);
/// Turns a finished spare into the journal file that `header` describes (S1). Blocking.
Result<JournalFile> take_into_use(Disk& disk, const std::string& directory,
                                  std::uint64_t spare_number, const FileHeader& header);

}  // namespace waybill
