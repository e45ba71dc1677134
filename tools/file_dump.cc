#include "tools/file_dump.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "tools/base64.h"
#include "tools/counted.h"
#include "tools/escape.h"
#include "tools/journal_dump.h"
#include "tools/object_dump.h"
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

json::array index_array(const std::vector<SegmentIndexEntry>& index) {
  json::array all;
  for (const SegmentIndexEntry& entry : index) {
    all.push_back(json::object{{"base", entry.base.value},
                               {"max_before_ms", entry.max_before.milliseconds},
                               {"position", entry.position}});
  }
  return all;
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
  Result<DumpFields> fields = object_fields(object);
  if (fields) return text + fields->to_text("    ", bodies);
  text += "    cannot be decoded: " + to_string(fields.error());
  return bodies ? text + "\n" + hex_dump(object.body) : text + "; its bytes with --records\n";
}

std::string dump_json(const CheckpointObject& object, bool bodies) {
  json::object all{{"kind", "object"},
                   {"object_kind", object.kind},
                   {"object_kind_name", object_kind_name(object.kind)},
                   {"id", object.id},
                   {"version", object.version},
                   {"applied", object.applied.value},
                   {"body_size", object.body.size()}};
  Result<DumpFields> fields = object_fields(object);
  if (fields) all["body"] = json::parse(fields->to_json());
  if (!fields) all["problem"] = to_string(fields.error());
  if (bodies) all["body_base64"] = to_base64(object.body);
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
