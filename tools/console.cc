#include "tools/console.h"

#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <iostream>

#include "tools/escape.h"

namespace waybill::cli {
namespace {

bool write_all(int descriptor, std::string_view data) {
  while (!data.empty()) {
    ssize_t written = ::write(descriptor, data.data(), data.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    data.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

ConsoleStreams process_streams() {
  ConsoleStreams streams;
  streams.out = [](std::string_view data) { return write_all(STDOUT_FILENO, data); };
  streams.out_closed = [] {
    pollfd reader{STDOUT_FILENO, 0, 0};
    return ::poll(&reader, 1, 0) == 1 && (reader.revents & (POLLERR | POLLHUP)) != 0;
  };
  // If nobody reads stderr there is nobody to tell.
  streams.err = [](std::string_view data) { (void)write_all(STDERR_FILENO, data); };
  streams.read_answer = []() -> std::optional<std::string> {
    std::string line;
    if (!std::getline(std::cin, line)) return std::nullopt;
    return line;
  };
  streams.out_is_terminal = ::isatty(STDOUT_FILENO) == 1;
  streams.err_is_terminal = ::isatty(STDERR_FILENO) == 1;
  streams.in_is_terminal = ::isatty(STDIN_FILENO) == 1;
  const char* no_colour = std::getenv("NO_COLOR");
  const char* terminal = std::getenv("TERM");
  streams.colour = (no_colour == nullptr || *no_colour == '\0') && terminal != nullptr &&
                   std::string_view(terminal) != "dumb";
  return streams;
}

Console::~Console() {
  if (array_open_) finish_items();
}

bool Console::print(std::string_view data) {
  std::lock_guard lock(mutex_);
  return print_locked(data);
}

bool Console::reader_gone() const {
  std::lock_guard lock(mutex_);
  return reader_gone_ || (streams_.out_closed && streams_.out_closed());
}

bool Console::print_locked(std::string_view data) {
  if (reader_gone_) return false;
  clear_progress_locked();
  reader_gone_ = !streams_.out(data);
  return !reader_gone_;
}

void Console::print_one(std::string_view text_form, std::string_view json_form) {
  print(text() ? escaped_text(text_form) : escaped_json(json_form) + "\n");
}

void Console::print_item(std::string_view text_form, std::string_view json_form) {
  std::lock_guard lock(mutex_);
  if (format_ == OutputFormat::kJson) {
    print_locked((array_open_ ? ",\n " : "[") + escaped_json(json_form));
    array_open_ = true;
  } else if (format_ == OutputFormat::kJsonLines) {
    print_locked(escaped_json(json_form) + "\n");
  } else {
    print_locked(escaped_text(text_form));
  }
}

void Console::finish_items() {
  std::lock_guard lock(mutex_);
  if (format_ == OutputFormat::kJson) print_locked(array_open_ ? "]\n" : "[]\n");
  array_open_ = false;
}

void Console::say(std::string_view line) {
  std::lock_guard lock(mutex_);
  if (quiet_) return;
  clear_progress_locked();
  streams_.err(escaped_text(line) + (line.ends_with('\n') ? "" : "\n"));
}

void Console::complain(std::string_view what, std::string_view next) {
  std::lock_guard lock(mutex_);
  clear_progress_locked();
  bool red = streams_.colour && streams_.err_is_terminal;
  std::string text = red ? "\x1b[31merror:\x1b[0m " : "error: ";
  text += indented(escaped_text(what), "  ").erase(0, 2) + indented(escaped_text(next), "  ");
  streams_.err(text);
}

void Console::progress(std::string_view line) {
  std::lock_guard lock(mutex_);
  if (!shows_progress()) return;
  clear_progress_locked();
  streams_.err(escaped_line(line));
  progress_shown_ = !line.empty();
}

void Console::clear_progress_locked() {
  if (progress_shown_) streams_.err("\r\x1b[K");
  progress_shown_ = false;
}

bool Console::confirm(std::string_view question, bool assume_yes) {
  if (assume_yes) return true;
  if (!can_ask()) {
    complain("this needs a confirmation, and nobody is here to give it",
             "nothing was changed; add --yes to confirm");
    return false;
  }
  {
    std::lock_guard lock(mutex_);
    clear_progress_locked();
    streams_.err(escaped_text(question) + " [y/N] ");
  }
  std::optional<std::string> answer = streams_.read_answer();
  if (answer && (*answer == "y" || *answer == "Y" || *answer == "yes")) return true;
  say("nothing was changed");
  return false;
}

bool Console::can_ask() const {
  return streams_.in_is_terminal && streams_.err_is_terminal;
}

ExitCode Console::refusal() const {
  return can_ask() ? ExitCode::kFailed : ExitCode::kUsage;
}

std::string Console::shown_value(std::string_view value) const {
  return streams_.out_is_terminal ? escaped_text(value) : std::string(value);
}

}  // namespace waybill::cli
