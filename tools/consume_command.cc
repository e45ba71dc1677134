// consume as a member of a group: as many threads as programs may run at a time, each takes a
// delivery, has it handled, and settles it. Settlements are sent on at once and counted when the
// broker has made them durable; leaving waits for all of them.
#include <fmt/format.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/escape.h"
#include "tools/exec_contract.h"
#include "tools/group_text.h"
#include "tools/json_output.h"
#include "tools/message_line.h"
#include "tools/standstill.h"
#include "tools/stop_signal.h"
#include "tools/worker_process.h"

namespace waybill::cli {
namespace {

/// How long a thread waits for a delivery before it looks whether it should stop.
constexpr std::chrono::milliseconds kTakeWait{200};
/// Printing is fast: enough to cover the way to the broker and back.
constexpr std::uint32_t kPrintCredit = 1000;
/// Without a delivery for so long, --exit-at-end asks the broker whether anything is left.
constexpr std::chrono::milliseconds kIdleBeforeAsking{200};

MessagePlace place_of(const Delivery& delivery) {
  return {delivery.topic(),  delivery.partition(), delivery.offset(),
          delivery.number(), delivery.failures(),  delivery.redrive()};
}

/// What settlements became, counted from the client's thread; outlives the command's stack.
class SettlementCount {
 public:
  void add(std::string_view outcome, const Reply<void>& reply) {
    std::lock_guard lock(mutex_);
    if (reply) {
      ++settled_[outcome];
    } else {
      ++lost_;
    }
  }
  std::string text() const {
    std::lock_guard lock(mutex_);
    std::string text;
    for (const auto& [outcome, count] : settled_) {
      text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, outcome);
    }
    if (lost_ > 0) {
      text += fmt::format("{}{} came too late and will be delivered again",
                          text.empty() ? "" : ", ", lost_);
    }
    return text.empty() ? "nothing was delivered" : text;
  }

 private:
  mutable std::mutex mutex_;
  std::map<std::string_view, std::uint64_t> settled_;
  std::uint64_t lost_ = 0;
};

class ConsumeRun {
 public:
  ConsumeRun(const Consume& command, BrokerSession& session, BlockingSubscription subscription)
      : command_(command),
        session_(session),
        console_(session.console()),
        subscription_(std::move(subscription)) {}

  ExitCode run() {
    std::vector<std::thread> threads;
    for (std::uint32_t index = 0; index < command_.concurrency; ++index) {
      threads.emplace_back([this] { take_deliveries(); });
    }
    while (!stopping() && !ends()) StopSignal::wait_for(kTakeWait);
    stop_ = true;
    // At once, while programs still run: what they have not begun is another consumer's now.
    if (Reply<void> closed = subscription_.close(); !closed) note_error(closed.error());
    for (std::thread& thread : threads) thread.join();
    if (runs_programs() || console_.text()) {
      console_.say(count_->text());
    }
    if (!console_.text()) console_.finish_items();
    if (error_) return session_.report(*error_, command_.group);
    if (!standstill_) return ExitCode::kOk;
    console_.complain("messages are left: " + standstill_->why, standstill_->next);
    return taken_ > 0 ? ExitCode::kPartly : ExitCode::kFailed;
  }

 private:
  bool stopping() const { return stop_ || StopSignal::requested() || nobody_reads(); }

  bool runs_programs() const { return !command_.exec.empty() || !command_.worker.empty(); }
  /// Where programs do the work, as text, stdout is theirs.
  bool nobody_reads() const {
    return (!runs_programs() || !console_.text()) && console_.reader_gone();
  }

  void take_deliveries() {
    std::optional<WorkerProcess> worker;
    if (!command_.worker.empty()) {
      worker.emplace(command_.worker, [this](std::string_view text) {
        console_.say(escaped_text(text.ends_with('\n') ? text.substr(0, text.size() - 1) : text));
      });
    }
    while (!stopping()) {
      if (worker && worker->pause().count() > 0) {
        console_.say(fmt::format("the worker failed; it is started again in {} ms",
                                 worker->pause().count()));
        if (StopSignal::wait_for(worker->pause())) break;
      }
      Reply<Delivery> delivery = subscription_.next(kTakeWait);
      if (delivery) {
        ++taken_;
        bool too_late = StopSignal::requested();
        settle(*delivery, too_late ? released() : handle(*delivery, worker));
      } else if (delivery.error() == Errc::kClosed && stopping()) {
        return;
      } else if (delivery.error() != Errc::kTimedOut) {
        note_error(delivery.error());
        stop_ = true;
      }
    }
  }

  static SettleOptions released() { return {SettleVerb::kRelease, {}, {}}; }

  SettleOptions handle(const Delivery& delivery, std::optional<WorkerProcess>& worker) {
    MessagePlace place = place_of(delivery);
    if (worker) return worker->handle(message_id(place), message_json(place, delivery.message()));
    if (!command_.exec.empty()) return run_exec(delivery);
    return print_message(place, delivery.message());
  }

  SettleOptions run_exec(const Delivery& delivery) {
    ChildOptions options;
    options.command = command_.exec;
    options.environment = message_environment(delivery);
    options.output_to_stderr = !console_.text();
    const std::optional<ByteVector>& value = delivery.message().value;
    Result<ProgramResult> result =
        run_program(options, value ? as_text(*value) : std::string_view());
    // A program that could not even be started, or was killed because we were told twice to stop,
    // says nothing about the message: it is given back, uncharged.
    if (!result) {
      note_error(result.error());
      stop_ = true;
    }
    if (!result || StopSignal::forced()) return released();
    return settle_for(result->end, result->error_output);
  }

  SettleOptions print_message(const MessagePlace& place, const Message& message) {
    bool printed = true;
    if (console_.text()) {
      std::string_view value = message.value ? as_text(*message.value) : std::string_view();
      printed = console_.print(console_.shown_value(value) + "\n");
    } else {
      console_.print_item({}, message_json(place, message));
      printed = !console_.reader_gone();
    }
    return {printed ? SettleVerb::kAck : SettleVerb::kRelease, {}, {}};
  }

  void settle(Delivery& delivery, const SettleOptions& options) {
    std::string json = runs_programs() ? settled_json(delivery, options) : "";
    bool failing = options.verb == SettleVerb::kRetry || options.verb == SettleVerb::kDeadLetter;
    if (failing) {
      console_.say(fmt::format("{}: {} ({}): {}", message_id(place_of(delivery)),
                               settle_name(options), escaped_line(options.failure.code),
                               shortened(options.failure.detail, 200)));
    }
    // The console outlives the client, which ends every settlement before it goes.
    delivery.async_settle(options,
                          [count = count_, outcome = settle_name(options), json = std::move(json),
                           &console = console_](const Reply<void>& reply) {
                            count->add(outcome, reply);
                            if (reply && !json.empty() && !console.text())
                              console.print_item({}, json);
                          });
  }

  /// With --exit-at-end: nothing is ready, leased or delayed in any partition, and no thread has a
  /// delivery; or what is left comes only once a person does something.
  /// Who follows a group is told once, if nothing comes at first, what stops it.
  bool ends() {
    if (asked_ && !command_.exit_at_end) return false;
    std::uint64_t taken = taken_;
    if (taken != last_taken_) {
      last_taken_ = taken;
      last_change_ = std::chrono::steady_clock::now();
    }
    if (std::chrono::steady_clock::now() - last_change_ < kIdleBeforeAsking) return false;
    asked_ = true;
    Reply<DescribeGroupReply> group = session_.request(DescribeGroupRequest{command_.group});
    if (!group && command_.exit_at_end) note_error(group.error());
    if (!group) return command_.exit_at_end;
    say_what_stops(group->group);
    if (!command_.exit_at_end) return false;
    std::uint64_t open = 0;
    for (const GroupPartitionStatus& status : group->partitions) open += open_now(status);
    if (open == 0) return taken_ == taken;
    standstill_ = standstill_watch_.look(*group);
    return standstill_.has_value();
  }

  /// Once, since whoever waits for the end would wait without a reason to be seen.
  void say_what_stops(const GroupInfo& group) {
    std::string state = state_text(group);
    if (state.empty() || std::exchange(said_what_stops_, true)) return;
    console_.say(fmt::format("{} does not deliver everything now:\n{}", command_.group,
                             state.substr(0, state.size() - 1)));
  }

  void note_error(const RequestError& error) {
    std::lock_guard lock(error_mutex_);
    if (!error_) error_ = error;
  }

  const Consume& command_;
  BrokerSession& session_;
  Console& console_;
  BlockingSubscription subscription_;
  std::shared_ptr<SettlementCount> count_ = std::make_shared<SettlementCount>();
  std::atomic<bool> stop_{false};
  std::atomic<std::uint64_t> taken_{0};
  std::uint64_t last_taken_ = 0;
  bool asked_ = false;
  bool said_what_stops_ = false;
  StandstillWatch standstill_watch_;
  std::optional<Standstill> standstill_;  ///< why the run ends although messages are left
  std::chrono::steady_clock::time_point last_change_ = std::chrono::steady_clock::now();
  std::mutex error_mutex_;
  std::optional<RequestError> error_;
};

}  // namespace

ExitCode run(const Consume& command, BrokerSession& session) {
  StopSignal::install();
  bool prints = command.exec.empty() && command.worker.empty();
  SubscribeOptions options;
  // Programs are slow: more than twice as many as run would only keep them from other consumers.
  options.credit_messages = prints ? kPrintCredit : command.concurrency * 2;
  Reply<BlockingSubscription> subscription = session.client().subscribe(command.group, options);
  if (!subscription) return session.report(subscription.error(), command.group);
  ExitCode code = ConsumeRun(command, session, std::move(*subscription)).run();
  if (Reply<void> closed = session.client().close(); !closed && code == ExitCode::kOk) {
    return session.report(closed.error());
  }
  return code;
}

}  // namespace waybill::cli
