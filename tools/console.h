// Where a command speaks: data to stdout, everything said to a person to stderr, questions only
// where a person sits. One object per process; any thread.
//
// All of it is escaped here (D18), whatever users put into it, so that no command can forget to;
// only print() takes data as it is. Escaping twice changes nothing.
#pragma once

#include <functional>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "tools/exit_code.h"

namespace waybill::cli {

enum class OutputFormat { kText, kJson, kJsonLines };

/// What the console is connected to; a test gives strings instead of a terminal.
struct ConsoleStreams {
  std::function<bool(std::string_view)> out;  ///< false once nobody reads any more
  std::function<void(std::string_view)> err;
  std::function<bool()> out_closed;  ///< nobody reads `out` any more, asked without writing to it
  std::function<std::optional<std::string>()> read_answer;  ///< one line; nothing at the end
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  bool in_is_terminal = false;
  bool colour = false;  ///< wanted at all: NO_COLOR unset, TERM not dumb
};
/// The process' own descriptors 0, 1 and 2.
ConsoleStreams process_streams();

class Console {
 public:
  Console(ConsoleStreams streams, OutputFormat format, bool quiet)
      : streams_(std::move(streams)), format_(format), quiet_(quiet) {}
  Console(const Console&) = delete;
  Console& operator=(const Console&) = delete;
  /// Ends an array that an error has cut short, so that it can be parsed.
  ~Console();

  [[nodiscard]] OutputFormat format() const { return format_; }
  [[nodiscard]] bool text() const { return format_ == OutputFormat::kText; }
  [[nodiscard]] bool shows_progress() const { return streams_.err_is_terminal && !quiet_; }

  /// Data, as it is. False (and from then on always) when nobody reads stdout any more.
  bool print(std::string_view data);
  /// Also when nothing was printed since the reader went (`waybill consume … | head -1`).
  [[nodiscard]] bool reader_gone() const;

  /// The result of a command that yields one thing: with `json` on one line for -o json and jsonl.
  void print_one(std::string_view text_form, std::string_view json_form);
  /// One of several things, printed now: as text, as a line, as an element of an array.
  void print_item(std::string_view text_form, std::string_view json_form);
  /// Ends a list of items: -o json ends the array, or prints an empty one.
  void finish_items();

  /// A line of talk; not with --quiet.
  void say(std::string_view line);
  /// "error: …" and further lines indented under it; always.
  void complain(std::string_view what, std::string_view next = {});
  /// Progress that overwrites itself on a terminal, nothing elsewhere. An empty line clears it.
  void progress(std::string_view line);

  /// A person sits there: types what is read from stdin, and reads stderr.
  [[nodiscard]] bool can_ask() const;
  /// Asks a destructive question: true if `assume_yes`, or a person at a terminal says "y" or
  /// "yes". Off a terminal it is refused with a sentence that names --yes.
  bool confirm(std::string_view question, bool assume_yes);
  /// What a command ends with when confirm() said no: kUsage where nobody could be asked.
  [[nodiscard]] ExitCode refusal() const;

  /// A message's value for stdout: escaped on a terminal, as it is anywhere else (D18).
  [[nodiscard]] std::string shown_value(std::string_view value) const;

 private:
  bool print_locked(std::string_view data);
  void clear_progress_locked();

  ConsoleStreams streams_;
  OutputFormat format_;
  bool quiet_;
  mutable std::mutex mutex_;
  bool array_open_ = false;  ///< of -o json, until finish_items()
  bool reader_gone_ = false;
  bool progress_shown_ = false;
};

}  // namespace waybill::cli
