// The bodies of journal entries, field by field, as the broker's own decoders read them
// (broker/core/entries.h): what `waybill storage dump` prints below an entry. What a checkpoint
// keeps of the same things is printed with the same words (tools/object_dump.h).
#pragma once

#include "broker/core/entries.h"
#include "tools/dump_fields.h"

namespace waybill::cli {

/// Of an entry that is not local; of a batch, what the entry says of it and not the batch itself.
/// kBadFormat: it is not what a broker writes. kUnsupportedFormat: a newer one's.
Result<DumpFields> entry_fields(const EntryView& entry);

DumpFields fields_of(const Failure& failure);
DumpFields fields_of(const Attempt& attempt);
DumpFields fields_of(const CatalogChange& change);
DumpFields fields_of(const ProducerEntry& entry);

}  // namespace waybill::cli
