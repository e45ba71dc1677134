// A segment or a checkpoint, field by field, as text and as JSON on one line: what `waybill storage
// dump --file` prints. Bodies of a checkpoint's objects are shown by object_dump.h; what it cannot
// decode is said to be so, and with `bodies` in hexadecimal.
#pragma once

#include <string>

#include "storage/checkpoint_reader.h"
#include "storage/segment_walk.h"

namespace waybill::cli {

std::string dump_text(const SegmentStretch& stretch, const SegmentId& id, bool records);
std::string dump_json(const SegmentStretch& stretch, const SegmentId& id, bool records);
std::string dump_text(const CheckpointObject& object, bool bodies);
std::string dump_json(const CheckpointObject& object, bool bodies);
std::string dump_text(const CheckpointSummary& summary);
std::string dump_json(const CheckpointSummary& summary);

}  // namespace waybill::cli
