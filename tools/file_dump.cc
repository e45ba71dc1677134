#include "tools/file_dump.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "storage/stream_object.h"
#include "tools/base64.h"
#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/journal_dump.h"
#include "tools/storage_report.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

std::string_view part_name(SegmentPart part) {
  switch (part) {
    case SegmentPart::kBlock:
      return "block";
    case SegmentPart::kGap:
      return "gap";
    case SegmentPart::kFooter:
      return "footer";
  }
  return "?";
}

std::string_view object_kind_name(std::uint16_t kind) {
  constexpr const char* kNames[] = {"?",      "adopted", "producer", "catalog",  "topic",
                                    "group",  "stream",  "places",   "delivery", "gaps",
                                    "leases", "tracked", "letters",  "examples", "producers"};
  return kind < std::size(kNames) ? kNames[kind] : "?";
}

/// Calls visit(batch) for each batch of the block; what is wrong if they cannot be read.
template <class Visit>
std::string each_batch(const SegmentStretch& stretch, const SegmentId& id, Visit visit) {
  Result<std::vector<Bytes>> batches = block_batches(stretch.block, stretch.bytes);
  if (!batches) return to_string(batches.error());
  for (const Bytes bytes : *batches) {
    Result<BatchHeader> header = parse_batch_header(bytes);
    if (!header) return to_string(header.error());
    const std::int64_t count = header->last_offset() - header->base_offset + 1;
    visit(AppendBody{.stream = id.stream,
                     .base = header->base_offset,
                     .count = static_cast<std::uint32_t>(count),
                     .header = *header,
                     .batch = bytes});
  }
  return {};
}

std::string facts_text(SegmentFacts facts) {
  const auto bits = static_cast<unsigned>(facts);
  std::string text;
  if ((bits & static_cast<unsigned>(SegmentFacts::kKeys)) != 0) text += " keys";
  if ((bits & static_cast<unsigned>(SegmentFacts::kNotBefore)) != 0) text += " not_before";
  if ((bits & static_cast<unsigned>(SegmentFacts::kExpiry)) != 0) text += " expiry";
  return text.empty() ? "none" : text.substr(1);
}

json::array index_array(const std::vector<SegmentIndexEntry>& index) {
  json::array all;
  for (const SegmentIndexEntry& entry : index) {
    all.push_back(json::object{{"base", entry.base.value},
                               {"max_before_ms", entry.max_before.milliseconds},
                               {"position", entry.position}});
  }
  return all;
}

std::string stream_object_text(const StreamObject& stream) {
  std::string text = fmt::format("    starts at offset {}", stream.start.value);
  if (stream.is_partition)
    text += fmt::format("  topic {}{}  partition {}", stream.topic.value,
                        stream.archived ? " (deleted)" : "", stream.partition);
  text += "\n";
  for (const ClaimedSegment& segment : stream.segments) {
    text += fmt::format("    segment {}  offsets {}-{}  {}{}\n", segment_name(segment.id),
                        segment.id.base.value, segment.end.value - 1, size_text(segment.size),
                        segment.sealed ? "  sealed" : "");
  }
  return text;
}

json::object stream_object_json(const StreamObject& stream) {
  json::array segments;
  for (const ClaimedSegment& segment : stream.segments) {
    segments.push_back(json::object{{"name", segment_name(segment.id)},
                                    {"first", segment.id.base.value},
                                    {"last", segment.end.value - 1},
                                    {"size", segment.size},
                                    {"sealed", segment.sealed},
                                    {"index", index_array(segment.index)}});
  }
  json::object object{{"stream", stream_text(stream.stream)},
                      {"start", stream.start.value},
                      {"segments", std::move(segments)}};
  if (stream.is_partition) {
    object["topic"] = stream.topic.value;
    object["partition"] = stream.partition;
    object["archived"] = stream.archived;
  }
  return object;
}

}  // namespace

std::string dump_text(const SegmentStretch& stretch, const SegmentId& id, bool records) {
  std::string text = fmt::format("{:>10}  {}  {}", stretch.position, part_name(stretch.part),
                                 size_text(stretch.size));
  if (stretch.part == SegmentPart::kGap) return text + ", no intact block\n";
  if (stretch.part == SegmentPart::kFooter) {
    const SegmentFooter& footer = stretch.footer;
    text +=
        fmt::format("  version {}  offsets {}-{}  {} to {}  facts {}\n", footer.version,
                    footer.base.value, footer.end.value - 1, counted(footer.record_count, "record"),
                    time_text(footer.max_timestamp), facts_text(footer.facts));
    for (const SegmentIndexEntry& entry : footer.index)
      text += fmt::format("    offset {} at position {}\n", entry.base.value, entry.position);
    return text;
  }
  const SegmentBlock& block = stretch.block;
  text += fmt::format(
      "  version {}  offsets {}-{}  {} in {} (payload {})  to {}  facts {}\n", block.version,
      block.base.value, block.end.value - 1, counted(block.record_count, "record"),
      block.batch_count == 1 ? "1 batch" : fmt::format("{} batches", block.batch_count),
      block.payload_size, time_text(block.max_timestamp), facts_text(block.facts));
  const std::string problem =
      each_batch(stretch, id, [&](const AppendBody& batch) { text += batch_text(batch, records); });
  if (!problem.empty()) text += "    cannot be read: " + problem + "\n";
  return text;
}

std::string dump_json(const SegmentStretch& stretch, const SegmentId& id, bool records) {
  json::object object{{"kind", part_name(stretch.part)},
                      {"stream", stream_text(id.stream)},
                      {"position", stretch.position},
                      {"size", stretch.size}};
  if (stretch.part == SegmentPart::kFooter) {
    const SegmentFooter& footer = stretch.footer;
    object["version"] = footer.version;
    object["first_offset"] = footer.base.value;
    object["last_offset"] = footer.end.value - 1;
    object["record_count"] = footer.record_count;
    object["facts"] = facts_text(footer.facts);
    object["max_timestamp"] = time_text(footer.max_timestamp);
    object["index"] = index_array(footer.index);
  }
  if (stretch.part != SegmentPart::kBlock) return json::serialize(object);
  const SegmentBlock& block = stretch.block;
  object["version"] = block.version;
  object["first_offset"] = block.base.value;
  object["last_offset"] = block.end.value - 1;
  object["record_count"] = block.record_count;
  object["payload_size"] = block.payload_size;
  object["facts"] = facts_text(block.facts);
  object["max_timestamp"] = time_text(block.max_timestamp);
  json::array batches;
  const std::string problem = each_batch(stretch, id, [&](const AppendBody& batch) {
    batches.push_back(json::parse(batch_json(batch, records)));
  });
  object["batches"] = std::move(batches);
  if (!problem.empty()) object["problem"] = problem;
  return json::serialize(object);
}

std::string dump_text(const CheckpointObject& object, bool bodies) {
  std::string text =
      fmt::format("object {} {}  id {}  version {}  applied {}  body {}\n", object.kind,
                  object_kind_name(object.kind), object.id, object.version, object.applied.value,
                  size_text(object.body.size()));
  if (std::optional<StreamObject> stream = read_stream_object(object)) {
    text += stream_object_text(*stream);
  } else if (bodies) {
    text += hex_dump(object.body);
  }
  return text;
}

std::string dump_json(const CheckpointObject& object, bool bodies) {
  json::object all{{"kind", "object"},
                   {"object_kind", object.kind},
                   {"object_kind_name", object_kind_name(object.kind)},
                   {"id", object.id},
                   {"version", object.version},
                   {"applied", object.applied.value},
                   {"body_size", object.body.size()}};
  if (std::optional<StreamObject> stream = read_stream_object(object)) {
    all["body"] = stream_object_json(*stream);
  } else if (bodies) {
    all["body_base64"] = to_base64(object.body);
  }
  return json::serialize(all);
}

std::string dump_text(const CheckpointSummary& summary) {
  return fmt::format(
      "summary  {} ({})  applied {}  replay from {} in journal file {}  finished {}\n",
      counted(summary.object_count, "object"), size_text(summary.objects_size),
      summary.max_applied.value, summary.replay_from.value, summary.journal_file,
      time_text(summary.time));
}

std::string dump_json(const CheckpointSummary& summary) {
  return json::serialize(json::object{{"kind", "summary"},
                                      {"object_count", summary.object_count},
                                      {"objects_size", summary.objects_size},
                                      {"max_applied", summary.max_applied.value},
                                      {"replay_from", summary.replay_from.value},
                                      {"journal_file", summary.journal_file},
                                      {"time", time_text(summary.time)}});
}

}  // namespace waybill::cli
