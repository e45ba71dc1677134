#include <fmt/format.h>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/json_output.h"
#include "tools/line_source.h"
#include "tools/message_maker.h"
#include "tools/stop_signal.h"

namespace waybill::cli {
namespace {

/// A delay counts from now.
std::optional<WallTime> time_of(const std::optional<Moment>& moment) {
  if (!moment) return std::nullopt;
  if (const auto* time = std::get_if<WallTime>(&*moment)) return *time;
  auto delay = std::get<std::chrono::milliseconds>(*moment);
  return WallTime{SystemClock().wall().milliseconds + delay.count()};
}

/// Publishes what lines become, chunk by chunk, and keeps the counts.
class PublishRun {
 public:
  PublishRun(const Publish& command, BrokerSession& session, MessageMaker maker)
      : command_(command),
        session_(session),
        maker_(std::move(maker)),
        target_(command.topic),
        typed_(command.file == "-" && session.console().can_ask()) {
    if (typed_) session.console().say("a message per line; Ctrl-D ends");
    if (command.partition) target_.partition = PartitionIndex{*command.partition};
  }

  /// False: stop reading.
  bool publish_lines(std::vector<std::string> lines) {
    std::vector<Message> messages;
    std::vector<std::uint64_t> numbers;
    std::optional<Problem> bad_line;
    for (std::string& line : lines) {
      ++line_;
      Checked<std::optional<Message>> message = maker_.make(std::move(line));
      if (!message) {
        bad_line = Problem{fmt::format("line {}: {}", line_, message.error().text)};
        break;
      }
      if (!*message) continue;
      messages.push_back(std::move(**message));
      numbers.push_back(line_);
    }
    bool going = send(std::move(messages), numbers);
    if (bad_line) {
      ++failed_;
      session_.console().complain(bad_line->text, "publishing stopped before this line");
    }
    return going && !bad_line;
  }

  /// `cut_short`: there may have been more to publish.
  ExitCode finish(bool cut_short = false) {
    Console& console = session_.console();
    console.progress({});
    if (!console.text()) console.finish_items();
    std::string failures = failed_ > 0 ? fmt::format(", {} failed", failed_) : "";
    console.say(fmt::format("published {} to {}{}", counted(published_, "message"), command_.topic,
                            failures));
    if (failed_ == 0 && !cut_short) return ExitCode::kOk;
    return published_ > 0 ? ExitCode::kPartly : worst_;
  }

 private:
  bool send(std::vector<Message> messages, const std::vector<std::uint64_t>& numbers) {
    if (messages.empty()) return true;
    Console& console = session_.console();
    target_.not_before = time_of(command_.not_before);
    target_.expires = time_of(command_.expires);
    std::vector<Reply<PublishReceipt>> replies =
        session_.client().publish_all(target_, std::move(messages));
    bool going = true;
    for (std::size_t index = 0; index < replies.size(); ++index) {
      if (!replies[index]) {
        going = false;
        note_failure(replies[index].error(), numbers[index]);
        continue;
      }
      ++published_;
      if (!console.text()) console.print_item({}, to_json(*replies[index], command_.topic));
    }
    if (!typed_) console.progress(counted(published_, "message") + " published");
    return going;
  }

  void note_failure(const RequestError& error, std::uint64_t number) {
    // One cause usually fails everything behind it too: say it once.
    if (++failed_ > 1) return;
    session_.console().say(fmt::format("line {} was not published:", number));
    worst_ = session_.report(error, command_.topic);
  }

  const Publish& command_;
  BrokerSession& session_;
  MessageMaker maker_;
  PublishTarget target_;
  bool typed_;  ///< a person writes the lines, where progress would be in the way
  std::uint64_t line_ = 0;
  std::uint64_t published_ = 0;
  std::uint64_t failed_ = 0;
  ExitCode worst_ = ExitCode::kFailed;
};

}  // namespace

ExitCode run(const Publish& command, BrokerSession& session) {
  StopSignal::install();
  if (command.not_before && command.expires &&
      *time_of(command.expires) <= *time_of(command.not_before)) {
    return session.usage("--expires is not after --delay or --at: nobody would ever get this",
                         "nothing was published; give it time to be delivered");
  }
  Checked<MessageMaker> maker = MessageMaker::create(
      {command.json_lines, command.key_jq, command.key_separator, command.headers});
  if (!maker) return session.usage(maker.error().text);
  Checked<LineSource> source = LineSource::open(command.file);
  if (!source) {
    session.console().complain(source.error().text);
    return ExitCode::kNotFound;
  }
  session.set_compression(command.compression);
  // A wrong topic or an absent broker is said before anybody types a message.
  Reply<TopicInfo> topic = session.client().find_topic(command.topic);
  if (!topic) return session.report(topic.error(), command.topic);
  PublishRun publishing(command, session, std::move(*maker));
  while (!StopSignal::requested()) {
    Checked<std::vector<std::string>> lines = source->next();
    if (!lines) {
      session.console().complain(lines.error().text);
      return publishing.finish(true);
    }
    if (lines->empty() || !publishing.publish_lines(std::move(*lines))) break;
  }
  return publishing.finish();
}

}  // namespace waybill::cli
