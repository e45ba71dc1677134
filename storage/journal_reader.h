// Reading a journal: JournalFileReader walks the frames of one file, EntryReader the entries of one
// frame. They judge single frames and entries only; what a missing frame means is recovery's
// question. Used by recovery and by tools; blocking.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "storage/journal_file.h"
#include "storage/journal_frame.h"

namespace waybill {

/// A valid frame as found. `bytes` belong to the reader and last until its next call.
struct FoundFrame {
  JournalFrameHeader header;
  std::uint64_t position = 0;
  Bytes bytes;
};

class JournalFileReader {
 public:
  /// Opens the file and reads its header; with `sync`, first makes durable what a killed process
  /// may have left in flight (S6). Errors of the header are decode_file_header's.
  static Result<JournalFileReader> open(Disk& disk, const std::string& path, bool sync);

  [[nodiscard]] const FileHeader& header() const { return header_; }
  [[nodiscard]] std::uint64_t size() const { return size_; }

  /// The frame at a position, or nothing if there is no valid one (F1 to F5). Walking upwards reads
  /// the file once, in pieces of 4 MiB.
  Result<std::optional<FoundFrame>> frame_at(std::uint64_t position);
  /// Whether the block at the position begins like a frame of this file, valid or not.
  Result<bool> looks_like_frame(std::uint64_t position);

 private:
  JournalFileReader(Disk& disk, OpenFilePointer file) : disk_(&disk), file_(std::move(file)) {}
  Result<Bytes> load(std::uint64_t position, std::size_t size);

  Disk* disk_;
  OpenFilePointer file_;
  FileHeader header_;
  std::uint64_t size_ = 0;
  AlignedMemory buffer_;
  std::uint64_t buffer_position_ = 0;
  std::size_t buffer_filled_ = 0;
};

/// What is wrong inside a frame whose checksum is right: written by faulty or by newer software.
struct EntryProblem {
  Errc code;  ///< kDamaged or kUnsupportedFormat
  std::string what;
};

class EntryReader {
 public:
  /// `frame` is valid and outlives the reader.
  EntryReader(Bytes frame, const JournalFrameHeader& header);

  /// The next entry, or nothing after the last one or after a problem.
  std::optional<EntryView> next();
  /// Where the last entry's body begins within the frame.
  [[nodiscard]] std::uint32_t body_offset() const { return body_offset_; }
  [[nodiscard]] const std::optional<EntryProblem>& problem() const { return problem_; }

 private:
  std::optional<EntryView> fail(Errc code, std::string what);

  Bytes frame_;
  JournalFrameHeader header_;
  std::size_t position_ = kJournalFrameHeaderSize;
  std::size_t end_ = 0;
  std::uint32_t read_ = 0;
  std::uint32_t body_offset_ = 0;
  EntrySeq next_seq_;
  std::optional<EntryProblem> problem_;
};

}  // namespace waybill
