// JournalWalk: everything that stands in the files of a journal, stretch by stretch, in whatever
// state they are: for tools that show, count, or list what is lost. It judges single frames only;
// whether a gap is damage is recovery's question. Changes nothing. Blocking.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "storage/journal_reader.h"

namespace waybill {

/// A file with a journal file's name.
struct WalkedFile {
  std::uint64_t number = 0;
  std::string path;
  std::uint64_t size = 0;
  std::optional<FileHeader> header;     ///< nothing: unreadable, and so is what follows it
  Error problem{};                      ///< why, if there is no header
  std::uint64_t live_end = UINT64_MAX;  ///< frames from this number on are void (S7)
};

enum class StretchKind : std::uint8_t {
  kFrame,      ///< a valid frame
  kVoidFrame,  ///< a valid frame that a later file voids (S7)
  kGap,        ///< no valid frame, but one stands behind it or once began in it
  kUnused,     ///< to the end of the file: nothing that looks like this file's
};

struct JournalStretch {
  StretchKind kind{};
  std::size_t file = 0;  ///< index into files()
  std::uint64_t position = 0;
  std::uint64_t size = 0;
  JournalFrameHeader header;  ///< of a frame
  Bytes bytes;                ///< of a frame; until the next call
};

class JournalWalk {
 public:
  /// kNotFound if there is no such directory.
  static Result<JournalWalk> open(Disk& disk, const std::string& directory);

  /// By number.
  [[nodiscard]] const std::vector<WalkedFile>& files() const { return files_; }
  /// Names of what else is in the directory, sorted.
  [[nodiscard]] const std::vector<std::string>& others() const { return others_; }

  /// The next stretch, or nothing after the last. Files without a header are passed over. Errors
  /// are the disk's.
  Result<std::optional<JournalStretch>> next();

 private:
  explicit JournalWalk(Disk& disk) : disk_(&disk) {}
  Result<void> read_header(WalkedFile& file);
  Result<JournalStretch> read_stretch();

  Disk* disk_;
  std::vector<WalkedFile> files_;
  std::vector<std::string> others_;
  std::size_t file_ = 0;
  std::uint64_t position_ = kFileHeaderSize;
  std::optional<JournalFileReader> reader_;  ///< of files_[file_], once it was begun
};

}  // namespace waybill
