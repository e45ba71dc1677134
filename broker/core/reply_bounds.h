// reply_bounds: what an answer about dead letters leaves out so that it fits a frame, and which
// answer cannot be given at all. Everything else the broker answers is bounded by the request or by
// the catalog's limits.
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

/// Refuses more positions than a frame holds: a list that ends too early without a word would be
/// believed.
Reply<void> check_fits(const ListProducersReply& reply);

}  // namespace waybill
