// consume without a group: reads a topic's partitions from a place in the log, to the end as it was
// at the start, or following what is published. Changes nothing in the broker.
#include <fmt/format.h>

#include "protocol/record/batch_view.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/message_line.h"
#include "tools/stop_signal.h"

namespace waybill::cli {
namespace {

/// How long the broker may wait at the end of the log before it answers "nothing".
constexpr std::chrono::milliseconds kReadWait{500};
/// Between rounds over several partitions of which none had anything.
constexpr std::chrono::milliseconds kRoundPause{100};

struct PartitionCursor {
  PartitionIndex partition;
  Offset next;
  std::optional<WallTime> from_time;  ///< until the first answer
  Offset end;                         ///< with --exit-at-end: where to stop
  [[nodiscard]] bool done() const { return !from_time && next >= end; }
};

Message message_of(const RecordView& record) {
  Message message;
  message.timestamp = record.timestamp;
  if (record.key) message.key = to_vector(*record.key);
  if (record.value) message.value = to_vector(*record.value);
  for (const HeaderView& header : record.headers) {
    message.headers.push_back({std::string(header.key), to_vector(header.value)});
  }
  return message;
}

class LogReader {
 public:
  LogReader(const Read& command, BrokerSession& session, const DescribeTopicReply& topic)
      : command_(command), session_(session), topic_(topic.topic) {
    for (const PartitionStatus& status : topic.partitions) {
      PartitionCursor cursor{status.partition, status.start, std::nullopt, status.end};
      if (command.from.kind == StartKind::kLatest) cursor.next = status.end;
      if (command.from.kind == StartKind::kOffset) {
        cursor.next = std::max(command.from.offset, status.start);
      }
      if (command.from.kind == StartKind::kTime) cursor.from_time = command.from.time;
      cursors_.push_back(cursor);
    }
  }

  ExitCode run() {
    ExitCode code = ExitCode::kOk;
    bool going = true;
    while (going && !StopSignal::requested() && !session_.console().reader_gone()) {
      bool quiet = true;
      going = !command_.exit_at_end;
      for (PartitionCursor& cursor : cursors_) {
        if (command_.exit_at_end && cursor.done()) continue;
        Reply<std::size_t> count = read_some(cursor);
        if (!count) return finish(session_.report(count.error(), command_.topic));
        quiet = quiet && *count == 0;
        going = going || !cursor.done();
      }
      if (going && quiet && cursors_.size() > 1) StopSignal::wait_for(kRoundPause);
    }
    return finish(code);
  }

 private:
  ExitCode finish(ExitCode code) {
    if (!session_.console().text()) session_.console().finish_items();
    return code;
  }

  /// Prints what one read gives; the number of messages printed.
  Reply<std::size_t> read_some(PartitionCursor& cursor) {
    ReadRequest request;
    request.topic = topic_.id;
    request.partition = cursor.partition;
    request.from = cursor.next;
    request.from_time = cursor.from_time;
    bool follows = !command_.exit_at_end && cursors_.size() == 1;
    request.wait = follows ? kReadWait : std::chrono::milliseconds(0);
    Reply<ReadReply> reply = session_.request(request);
    if (!reply) return reply.error();
    cursor.next = reply->first;
    cursor.from_time.reset();
    std::size_t count = 0;
    for (const SharedBytes& batch : reply->batches) {
      Result<BatchReader> reader = BatchReader::open(batch.view());
      if (!reader) return RequestError(reader.error());
      Result<void> read = reader->for_each([&](const RecordView& record) {
        if (record.offset < cursor.next || past_end(cursor, record.offset)) return true;
        cursor.next = record.offset + 1;
        ++count;
        return print(cursor.partition, record);
      });
      if (!read) return RequestError(read.error());
    }
    // An empty answer before the end would be asked for for ever.
    if (reply->batches.empty()) cursor.end = std::min(cursor.end, cursor.next);
    return count;
  }

  bool past_end(const PartitionCursor& cursor, Offset offset) const {
    return command_.exit_at_end && offset >= cursor.end;
  }

  bool print(PartitionIndex partition, const RecordView& record) {
    Console& console = session_.console();
    Message message = message_of(record);
    if (console.text()) {
      return console.print(
          console.shown_value(message.value ? as_text(*message.value) : std::string_view()) + "\n");
    }
    MessagePlace place{topic_.name, partition, record.offset, 0, 0, 0};
    console.print_item({}, message_json(place, message));
    return !console.reader_gone();
  }

  const Read& command_;
  BrokerSession& session_;
  TopicInfo topic_;
  std::vector<PartitionCursor> cursors_;
};

}  // namespace

ExitCode run(const Read& command, BrokerSession& session) {
  StopSignal::install();
  Reply<DescribeTopicReply> topic = session.request(DescribeTopicRequest{command.topic});
  if (!topic) return session.report(topic.error(), command.topic);
  return LogReader(command, session, *topic).run();
}

}  // namespace waybill::cli
