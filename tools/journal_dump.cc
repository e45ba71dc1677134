#include "tools/journal_dump.h"

#include <fmt/format.h>

#include <boost/json.hpp>

#include "protocol/record/batch_view.h"
#include "storage/journal_reader.h"
#include "tools/base64.h"
#include "tools/counted.h"
#include "tools/entry_dump.h"
#include "tools/escape.h"
#include "tools/storage_report.h"
#include "tools/time_text.h"

namespace waybill::cli {
namespace {

namespace json = boost::json;

constexpr std::size_t kShownColumns = 60;

std::string_view kind_name(StretchKind kind) {
  switch (kind) {
    case StretchKind::kFrame:
      return "frame";
    case StretchKind::kVoidFrame:
      return "void_frame";
    case StretchKind::kGap:
      return "gap";
    case StretchKind::kUnused:
      return "unused";
  }
  return "?";
}

std::string_view flags_name(FrameFlags flags) {
  switch (flags) {
    case FrameFlags::kNone:
      return "";
    case FrameFlags::kStart:
      return "start";
    case FrameFlags::kIdleMark:
      return "idle_mark";
  }
  return "unknown";
}

std::string shown(const std::optional<Bytes>& bytes) {
  if (!bytes) return "none";
  return shown_bytes(to_vector(*bytes), kShownColumns);
}

/// Calls visit(record) for each; says what is wrong if they cannot be read.
template <class Visit>
std::string each_record(Bytes batch, Visit visit) {
  Result<BatchReader> reader = BatchReader::open(batch);
  if (!reader) return to_string(reader.error());
  Result<void> read = reader->for_each([&visit](const RecordView& record) {
    visit(record);
    return true;
  });
  return read ? std::string() : to_string(read.error());
}

std::string records_text(Bytes batch) {
  std::string text;
  std::string problem = each_record(batch, [&text](const RecordView& record) {
    text += fmt::format("      offset {}  {}  key {}  value {}\n", record.offset.value,
                        time_text(record.timestamp), shown(record.key), shown(record.value));
    for (const HeaderView& header : record.headers) {
      text += fmt::format("        {}: {}\n", escaped_line(header.key),
                          header.is_null ? "none" : shown(header.value));
    }
  });
  if (!problem.empty()) text += "      cannot be read: " + problem + "\n";
  return text;
}

std::string stored_batch_text(const AppendBody& append, bool records) {
  const BatchHeader& batch = append.header;
  std::string text =
      fmt::format("    batch {}  {}  {}  {} to {}  leader epoch {}  crc {:#010x} {}\n",
                  size_text(batch.size), counted(batch.record_count, "record"), name(batch.codec),
                  time_text(batch.base_timestamp), time_text(batch.max_timestamp),
                  batch.leader_epoch, batch.crc, check_batch_crc(append.batch) ? "right" : "WRONG");
  if (records) text += records_text(append.batch);
  return text;
}

/// What cannot be decoded: so many bytes of whatever, shown only where payloads are too.
std::string undecoded_text(const Error& error, Bytes body, bool records) {
  std::string text = "    cannot be decoded: " + to_string(error);
  return records ? text + "\n" + hex_dump(body) : text + "; its bytes with --records\n";
}

std::string body_text(const EntryView& entry, bool records) {
  if (entry.type == EntryType::kStart) {
    Result<StartBody> start = decode_start_body(entry.body);
    if (!start) return undecoded_text(start.error(), entry.body, records);
    return fmt::format("    run {} at {}\n", start->start_number, time_text(start->time));
  }
  Result<DumpFields> fields = entry_fields(entry);
  if (!fields) return undecoded_text(fields.error(), entry.body, records);
  std::string text = fields->to_text("    ", records);
  if (!holds_batch(entry.type)) return text;
  if (std::optional<AppendBody> append = read_append_body(entry))
    return text + stored_batch_text(*append, records);
  return text + undecoded_text({Errc::kBadFormat, 0, "entry: batch"}, entry.body, records);
}

std::string entry_text(const EntryView& entry, bool records) {
  std::string text = fmt::format("  entry {}  {}  version {}  term {}  body {}\n",
                                 is_local(entry.type) ? "-" : fmt::to_string(entry.seq.value),
                                 entry_type_name(entry.type), entry.version, entry.term,
                                 size_text(entry.body.size()));
  return text + body_text(entry, records);
}

void put_bytes(json::object& object, const std::string& key, const std::optional<Bytes>& bytes) {
  if (!bytes) {
    object[key] = nullptr;
  } else if (is_utf8(as_text(*bytes))) {
    object[key] = as_text(*bytes);
  } else {
    object[key + "_base64"] = to_base64(*bytes);
  }
}

json::object batch_object(const AppendBody& append, bool records) {
  const BatchHeader& batch = append.header;
  json::object object{{"size", batch.size},
                      {"record_count", batch.record_count},
                      {"codec", name(batch.codec)},
                      {"base_timestamp", time_text(batch.base_timestamp)},
                      {"max_timestamp", time_text(batch.max_timestamp)},
                      {"leader_epoch", batch.leader_epoch},
                      {"crc", batch.crc},
                      {"crc_right", check_batch_crc(append.batch).ok()}};
  if (!records) return object;
  json::array all;
  std::string problem = each_record(append.batch, [&all](const RecordView& record) {
    json::object one{{"offset", record.offset.value}, {"timestamp", time_text(record.timestamp)}};
    put_bytes(one, "key", record.key);
    put_bytes(one, "value", record.value);
    json::array headers;
    for (const HeaderView& header : record.headers) {
      json::object pair;
      put_bytes(pair, "name", as_bytes(header.key));
      put_bytes(pair, "value", header.is_null ? std::nullopt : std::optional(header.value));
      headers.push_back(std::move(pair));
    }
    one["headers"] = std::move(headers);
    all.push_back(std::move(one));
  });
  object["records"] = std::move(all);
  if (!problem.empty()) object["problem"] = problem;
  return object;
}

void put_undecoded(json::object& object, const Error& error, Bytes body, bool records) {
  object["problem"] = to_string(error);
  if (records) object["body_base64"] = to_base64(body);
}

json::object entry_object(const EntryView& entry, bool records) {
  json::object object{{"entry_seq", entry.seq.value},
                      {"type", static_cast<unsigned>(entry.type)},
                      {"type_name", entry_type_name(entry.type)},
                      {"version", entry.version},
                      {"term", entry.term},
                      {"body_size", entry.body.size()}};
  if (std::optional<AppendBody> append = read_append_body(entry)) {
    object["stream"] = stream_text(append->stream);
    object["first_offset"] = append->base.value;
    object["last_offset"] = append->last().value;
    object["batch"] = batch_object(*append, records);
  } else if (holds_batch(entry.type)) {
    put_undecoded(object, {Errc::kBadFormat, 0, "entry: batch"}, entry.body, records);
  }
  if (entry.type == EntryType::kStart) {
    Result<StartBody> start = decode_start_body(entry.body);
    if (start) {
      object["start_number"] = start->start_number;
      object["time"] = time_text(start->time);
    } else {
      put_undecoded(object, start.error(), entry.body, records);
    }
    return object;
  }
  Result<DumpFields> fields = entry_fields(entry);
  if (!fields) {
    put_undecoded(object, fields.error(), entry.body, records);
    return object;
  }
  object["body"] = json::parse(fields->to_json());
  if (records && !holds_batch(entry.type)) object["body_base64"] = to_base64(entry.body);
  return object;
}

bool is_frame(const JournalStretch& stretch) {
  return stretch.kind == StretchKind::kFrame || stretch.kind == StretchKind::kVoidFrame;
}

}  // namespace

std::string_view entry_type_name(EntryType type) {
  switch (type) {
    case EntryType::kAppend:
      return "append";
    case EntryType::kDelivery:
      return "delivery";
    case EntryType::kDeadLetter:
      return "dead_letter";
    case EntryType::kCatalog:
      return "catalog";
    case EntryType::kAdopt:
      return "adopt";
    case EntryType::kProducer:
      return "producer";
    case EntryType::kTrim:
      return "trim";
    case EntryType::kCarry:
      return "carry";
    case EntryType::kStart:
      return "start";
  }
  return "unknown";
}

std::string batch_text(const AppendBody& batch, bool records) {
  return fmt::format("    stream {}  offsets {}-{}\n", stream_text(batch.stream), batch.base.value,
                     batch.last().value) +
         stored_batch_text(batch, records);
}

std::string batch_json(const AppendBody& batch, bool records) {
  json::object object{{"stream", stream_text(batch.stream)},
                      {"first_offset", batch.base.value},
                      {"last_offset", batch.last().value},
                      {"batch", batch_object(batch, records)}};
  return json::serialize(object);
}

std::string dump_text(const WalkedFile& file) {
  if (!file.header) {
    return fmt::format("{}: {}, no valid header: {}\n", file.path, size_text(file.size),
                       to_string(file.problem));
  }
  const FileHeader& header = *file.header;
  return fmt::format("{}: {}, shard {}, file {}, epoch {:#018x}, first frame {}, run {}\n",
                     file.path, size_text(file.size), header.shard.value, header.file_number,
                     header.file_epoch, header.first_frame_seq, header.start_number);
}

std::string dump_json(ShardIndex shard, const WalkedFile& file) {
  json::object object{
      {"kind", "file"}, {"shard", shard.value}, {"path", file.path}, {"size", file.size}};
  if (file.header) {
    object["file_number"] = file.header->file_number;
    object["file_epoch"] = fmt::format("{:#018x}", file.header->file_epoch);
    object["first_frame_seq"] = file.header->first_frame_seq;
    object["start_number"] = file.header->start_number;
  } else {
    object["problem"] = to_string(file.problem);
  }
  return json::serialize(object);
}

std::string dump_text(const JournalStretch& stretch, bool records) {
  if (stretch.kind == StretchKind::kUnused)
    return fmt::format("{:>10}  unused, {}\n", stretch.position, size_text(stretch.size));
  if (stretch.kind == StretchKind::kGap) {
    return fmt::format("{:>10}  no valid frame in {}: a torn tail, or damage\n", stretch.position,
                       size_text(stretch.size));
  }
  const JournalFrameHeader& header = stretch.header;
  const std::string_view flags = flags_name(header.flags);
  std::string text = fmt::format(
      "{:>10}  {}frame {}{}{}  version {}  {} (payload {})  durable {}  first entry {}  {}\n",
      stretch.position, stretch.kind == StretchKind::kVoidFrame ? "void " : "", header.frame_seq,
      flags.empty() ? "" : "  ", flags, header.version, size_text(header.frame_size),
      header.payload_size, header.durable_seq, header.first_entry_seq.value,
      header.entry_count == 1 ? "1 entry" : fmt::format("{} entries", header.entry_count));
  EntryReader entries(stretch.bytes, header);
  while (std::optional<EntryView> entry = entries.next()) text += entry_text(*entry, records);
  if (entries.problem()) text += "  cannot be read: " + entries.problem()->what + "\n";
  return text;
}

std::string dump_json(ShardIndex shard, const WalkedFile& file, const JournalStretch& stretch,
                      bool records) {
  json::object object{{"kind", kind_name(stretch.kind)},
                      {"shard", shard.value},
                      {"file_number", file.number},
                      {"position", stretch.position},
                      {"size", stretch.size}};
  if (!is_frame(stretch)) return json::serialize(object);
  const JournalFrameHeader& header = stretch.header;
  object["frame_seq"] = header.frame_seq;
  object["version"] = header.version;
  object["flags"] = flags_name(header.flags);
  object["durable_seq"] = header.durable_seq;
  object["first_entry_seq"] = header.first_entry_seq.value;
  object["payload_size"] = header.payload_size;
  json::array all;
  EntryReader entries(stretch.bytes, header);
  while (std::optional<EntryView> entry = entries.next())
    all.push_back(entry_object(*entry, records));
  object["entries"] = std::move(all);
  if (entries.problem()) object["problem"] = entries.problem()->what;
  return json::serialize(object);
}

}  // namespace waybill::cli
