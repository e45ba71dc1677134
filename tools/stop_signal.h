// Ctrl-C and SIGTERM as a question: the first asks a command to finish what it has begun, the
// second to give up. SIGPIPE is ignored, so that a closed pipe is an error of write() and not a
// death.
#pragma once

#include <chrono>

namespace waybill::cli {

class StopSignal {
 public:
  /// Installs the handlers, for the whole process; call before threads start.
  static void install();
  /// A closed pipe is an error of write() from now on, and not a death.
  static void ignore_broken_pipes();
  /// The number of signals that came so far.
  static int count();
  static bool requested() { return count() > 0; }
  static bool forced() { return count() > 1; }
  /// As a signal would: for tests, and when stdout's reader is gone.
  static void request();
  /// Readable once stop was requested; for poll(). -1 before install().
  static int descriptor();
  /// Waits, at most so long, and says whether stop was requested.
  static bool wait_for(std::chrono::milliseconds time);
};

}  // namespace waybill::cli
