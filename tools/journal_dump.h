// One stretch of a journal file, field by field, as text and as JSON on one line: what `waybill
// storage dump` prints. Bodies of entries are shown by entry_dump.h; what it cannot decode is said
// to be so, and with `records` in hexadecimal.
#pragma once

#include <string>
#include <string_view>

#include "storage/append_body.h"
#include "storage/journal_walk.h"

namespace waybill::cli {

/// "append", "delivery", …
std::string_view entry_type_name(EntryType type);

/// A batch, wherever it is stored; with `records`, what is in it.
std::string batch_text(const AppendBody& batch, bool records);
std::string batch_json(const AppendBody& batch, bool records);

std::string dump_text(const WalkedFile& file);
std::string dump_json(ShardIndex shard, const WalkedFile& file);
/// With `records`, also every record of every batch: its key and value shortened in text, whole in
/// JSON.
std::string dump_text(const JournalStretch& stretch, bool records);
std::string dump_json(ShardIndex shard, const WalkedFile& file, const JournalStretch& stretch,
                      bool records);

}  // namespace waybill::cli
