// JournalWriter: the Journal while it is being written. It stages changes into a frame, closes the
// frame when it is full or may be written, keeps up to four writes in flight, and acknowledges the
// contiguous prefix that is durable (S4).
//
//   stage()          pump()                        completions
//   building_ ─full─► closed_ ──┐
//       └───────────────────────┴─issue()─► in_flight_ ──done, in order──► durable()
//
// How many in flight: a large frame (a sixteenth of the target) gains little by waiting, so it goes
// as soon as one of max_frames_in_flight slots is free. A smaller one goes when nothing else is on
// its way, and until then gathers what is published meanwhile: many publishers of one small message
// share a write. Nothing ever waits for a timer.
//
// Every error poisons: after a failed write nobody knows what is on the disk, and a second try may
// succeed although the first one's bytes are gone (fsyncgate). The two exceptions lose nothing: a
// short write, whose whole frame is written once more, and a full disk while a spare is prepared.
#pragma once

#include <deque>
#include <memory>
#include <optional>

#include "storage/journal.h"
#include "storage/journal_file.h"
#include "storage/journal_frame.h"
#include "storage/journal_spare.h"
#include "storage/place_reader.h"
#include "storage/recovery.h"

namespace waybill {

class JournalWriter final : public Journal {
 public:
  /// Goes on after `recovered`; start() must follow.
  JournalWriter(Disk& disk, const Clock& clock, Random& random, JournalOptions options,
                Recovered recovered);
  JournalWriter(const JournalWriter&) = delete;
  JournalWriter& operator=(const JournalWriter&) = delete;
  /// Waits for its own operations in flight; no callback runs any more.
  ~JournalWriter() override;

  /// Blocking; the start frame is alone in its write (S9).
  Result<void> start(std::string* explanation) override;

  [[nodiscard]] const RecoveryReport& report() const override { return report_; }
  [[nodiscard]] std::uint32_t start_number() const override { return report_.start_number; }
  [[nodiscard]] Admission admit(std::size_t bytes, bool essential) const override;
  std::vector<StagedEntry> stage(std::span<const EntryDraft> change) override;
  void pump() override;
  [[nodiscard]] EntrySeq staged() const override { return staged_; }
  [[nodiscard]] EntrySeq durable() const override { return durable_; }
  [[nodiscard]] bool poisoned() const override { return poison_.has_value(); }
  [[nodiscard]] Error poison() const override;
  void on_progress(std::move_only_function<void()> callback) override {
    on_progress_ = std::move(callback);
  }
  [[nodiscard]] std::optional<MonotonicTime> deadline() const override;
  void read(JournalPlace place, std::move_only_function<void(Result<SharedBytes>)> done) override;
  Result<void> close() override;
  [[nodiscard]] std::uint64_t bytes_on_disk() const override;
  [[nodiscard]] std::string path_of(std::uint64_t file_number) const override {
    return options_.directory + "/" + journal_name(file_number);
  }
  [[nodiscard]] std::uint64_t current_file() const override { return current_.header.file_number; }
  [[nodiscard]] std::uint64_t file_of(EntrySeq seq) const override;
  void release_before(std::uint64_t file_number) override;
  void may_fill_files(bool may) override;
  [[nodiscard]] bool wants_release() const override { return disk_full() && files_.size() > 1; }

 private:
  /// A frame on its way, with what becomes durable with it.
  struct Pending {
    std::shared_ptr<FrameBuffer> frame;
    EntrySeq first;  ///< its first logical entry, or the next to come
    EntrySeq last;   ///< the last logical entry up to its end
    std::size_t bytes = 0;
  };
  struct InFlight {
    Pending pending;
    std::uint64_t frame_seq = 0;
    OpenFilePointer file;
    bool done = false;
    bool retried = false;
  };

  Result<void> write_start();
  void close_building();
  [[nodiscard]] bool idle() const;
  [[nodiscard]] const Pending* next_frame() const;
  [[nodiscard]] bool room_for(std::size_t frame_size) const;
  [[nodiscard]] std::size_t room_after(std::size_t need) const;
  [[nodiscard]] bool mark_wanted() const;
  [[nodiscard]] bool disk_full() const;
  void issue_frames();
  void issue_mark(MonotonicTime now);
  void issue(Pending pending, FrameFlags flags);
  void queue_write(InFlight& frame);
  void on_written(std::uint64_t frame_seq, Result<std::size_t> result);
  void advance();
  Result<void> take_file(std::uint64_t spare_number, EntrySeq first_entry);
  void let_go(const RecoveredFile& file);
  void prepare_spare(MonotonicTime now);
  void fail(const Error& error);
  void progress();
  void submit();
  Result<void> drain();
  [[nodiscard]] std::size_t own_pending() const;

  Disk& disk_;
  const Clock& clock_;
  Random& random_;
  JournalOptions options_;
  RecoveryReport report_;

  // What is staged.
  std::optional<Pending> building_;
  std::deque<Pending> closed_;
  EntrySeq staged_;
  std::size_t staged_bytes_ = 0;    ///< not durable yet
  std::size_t unissued_bytes_ = 0;  ///< of those, not in a file yet; padded
  std::size_t frame_hint_ = 0;

  // What is being written.
  std::deque<InFlight> in_flight_;
  std::size_t writes_pending_ = 0;
  std::uint64_t next_frame_seq_ = 1;
  std::uint64_t durable_frame_ = 0;
  EntrySeq durable_;
  std::optional<Error> poison_;
  std::move_only_function<void()> on_progress_;
  bool unsubmitted_ = false;

  // Where.
  JournalFile current_;
  std::uint64_t position_ = 0;           ///< of the next frame in the current file
  std::deque<RecoveredFile> files_;      ///< those that are needed, the current one last
  std::uint64_t files_size_ = 0;         ///< of these
  std::vector<std::uint64_t> released_;  ///< finished spares, beside spare_
  std::uint64_t recovered_spare_ = 0;
  JournalSpare spare_;
  bool may_fill_ = true;
  MonotonicTime spare_retry_;
  PlaceReader places_;

  // When.
  bool marked_ = false;  ///< the last frame is an idle mark
  bool closing_ = false;
  MonotonicTime quiet_since_;
};

}  // namespace waybill
