// The bodies of checkpoint objects, field by field, as the broker's own decoders read them
// (broker/core/snapshot_objects.h): what `waybill storage dump --file` prints below an object.
#pragma once

#include <string>

#include "broker/core/snapshot_objects.h"
#include "tools/dump_fields.h"

namespace waybill::cli {

/// "topic", "stream", …; "?" for a kind that is not known here.
std::string_view object_kind_name(std::uint16_t kind);
/// "keys not_before", "none"
std::string facts_text(SegmentFacts facts);
/// kBadFormat: it is not what a broker writes. kUnsupportedFormat: a newer one's.
Result<DumpFields> object_fields(const CheckpointObject& object);

}  // namespace waybill::cli
