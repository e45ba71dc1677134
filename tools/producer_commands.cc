#include <fmt/format.h>

#include <algorithm>

#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/json_output.h"
#include "tools/text_table.h"

namespace waybill::cli {
namespace {

/// "orders/0 at 17, orders/2 at 4"
std::string positions_text(const ProducerInfo& producer, const Catalog& catalog) {
  std::string text;
  for (const ProducerPosition& position : producer.positions) {
    const TopicInfo* topic = catalog.topic(position.topic);
    text += fmt::format("{}{}/{} at {}", text.empty() ? "" : ", ",
                        topic != nullptr ? topic->name : "(deleted)", position.partition.value,
                        position.last_sequence);
  }
  return text.empty() ? "-" : shortened(text, 60);
}

}  // namespace

ExitCode run(const ProducerList&, BrokerSession& session) {
  Reply<ListProducersReply> reply = session.request(ListProducersRequest{});
  if (!reply) return session.report(reply.error());
  Reply<MetadataReply> metadata = session.request(MetadataRequest{});
  if (!metadata) return session.report(metadata.error());
  Console& console = session.console();
  TextTable table({"PRODUCER", "NAME", ">EPOCH", "LAST SEQUENCES"});
  for (const ProducerInfo& producer : reply->producers) {
    table.add({to_string(producer.id.uuid),
               producer.name.empty() ? "-" : escaped_line(producer.name),
               fmt::to_string(producer.epoch), positions_text(producer, metadata->catalog)});
    if (!console.text()) console.print_item({}, to_json(producer, metadata->catalog));
  }
  if (!console.text()) {
    console.finish_items();
  } else if (table.empty()) {
    console.say("no durable producers; the relay of an outbox makes one for each lane");
  } else {
    console.print(table.render());
  }
  return ExitCode::kOk;
}

ExitCode run(const ProducerRemove& command, BrokerSession& session) {
  Result<Uuid> id = parse_uuid(command.id);
  if (!id) {
    return session.usage(fmt::format("'{}' is no producer's id", escaped_line(command.id)),
                         "'waybill producer list' shows them");
  }
  Reply<ListProducersReply> listed = session.request(ListProducersRequest{});
  // Too many to be listed are no reason to keep this one.
  bool too_many = !listed && listed.error() == Errc::kMessageTooLarge;
  if (!listed && !too_many) return session.report(listed.error());
  Console& console = session.console();
  std::string what = to_string(*id);
  if (listed) {
    auto found = std::ranges::find(listed->producers, ProducerId{*id}, &ProducerInfo::id);
    if (found == listed->producers.end()) {
      console.complain(fmt::format("there is no durable producer {}", to_string(*id)),
                       "'waybill producer list' shows them");
      return ExitCode::kNotFound;
    }
    what +=
        fmt::format(" ({}) sent to {}", found->name.empty() ? "no name" : escaped_line(found->name),
                    counted(found->positions.size(), "partition"));
  } else {
    what += " sent";
  }
  console.say(
      fmt::format("this forgets what producer {}: if it publishes again,\n"
                  "nothing protects from duplicates of before",
                  what));
  if (!console.confirm("remove it?", command.yes)) return console.refusal();
  Reply<RemoveProducerReply> reply = session.request(RemoveProducerRequest{{*id}});
  if (!reply) return session.report(reply.error());
  console.print_one(fmt::format("removed {}\n", to_string(*id)),
                    done_json("removed", to_string(*id)));
  return ExitCode::kOk;
}

}  // namespace waybill::cli
