// reply_bounds: what an answer about dead letters leaves out so that it fits a frame. Everything
// else the broker answers is bounded by the request or by the catalog's limits.
#pragma once

#include "protocol/base/limits.h"
#include "protocol/model/requests.h"

namespace waybill {

/// Kept in a list over the whole selection: with a full page it fits kMaxFrameMeta.
inline constexpr std::size_t kMaxListedFingerprints = limits::kMaxPage;

/// Keeps the most frequent kMaxListedFingerprints fingerprints.
void fit_frame(ListDeadLettersReply& reply);

/// Keeps the newest version, then the original, then the others from the newest on, as far as they
/// fit; they stay in order. The summary says how many there are.
void fit_frame(ShowDeadLetterReply& reply);

}  // namespace waybill
