#include "broker/core/producers.h"

#include <algorithm>

#include "protocol/base/mutant.h"

namespace waybill {
namespace {

SequenceVerdict refuse(Errc code, std::string explanation) {
  return {SequenceVerdict::Kind::kRefuse, {}, RequestError(code, std::move(explanation))};
}

}  // namespace

SequenceVerdict ProducerTable::judge(const ProducerStamp& stamp, std::uint32_t count) const {
  auto found = producers_.find(stamp.id);
  std::uint64_t last = found == producers_.end() ? 0 : found->second.last_sequence;
  if (found != producers_.end()) {
    // Else a session under a durable producer's id would pass its fence (D21).
    if (found->second.kind != stamp.kind) {
      return refuse(Errc::kInvalidRequest, "this producer id is of another kind of producer");
    }
    for (const RecentBatch& batch : found->second.recent) {
      if (batch.base_sequence == stamp.base_sequence && batch.count == count) {
        return {SequenceVerdict::Kind::kDuplicate, batch.base_offset, {}};
      }
    }
  }
  if (stamp.previous == last && stamp.base_sequence > last) return {};
  std::string numbers = "the last sequence here is " + std::to_string(last) +
                        ", the request follows " + std::to_string(stamp.previous) +
                        " and begins at " + std::to_string(stamp.base_sequence);
  if (stamp.kind == ProducerKind::kDurable) return refuse(Errc::kOutOfSequence, numbers);
  if (found == producers_.end()) {
    return refuse(
        Errc::kProducerUnknown,
        "this session is not known any more; whether its last batch was appended cannot be "
        "said. Start a new session");
  }
  return refuse(Errc::kOutOfOrder, numbers);
}

void ProducerTable::appended(const ProducerStamp& stamp, std::uint32_t count, Offset base,
                             EntrySeq seq) {
  auto [it, inserted] = producers_.try_emplace(stamp.id);
  State& state = it->second;
  state.kind = stamp.kind;
  state.last_sequence = stamp.base_sequence + count - 1;
  state.last_used = seq;
  state.recent.push_back({stamp.base_sequence, count, base});
  if (state.recent.size() > limits::kProducerRecentBatches)
    state.recent.erase(state.recent.begin());
  if (inserted && stamp.kind == ProducerKind::kSession &&
      ++session_count_ > limits::kMaxSessionProducers) {
    forget_oldest_session();
  }
}

void ProducerTable::removed(ProducerId id) {
  auto found = producers_.find(id);
  if (found == producers_.end() || found->second.kind != ProducerKind::kDurable) return;
  producers_.erase(found);
}

std::optional<std::uint64_t> ProducerTable::last_sequence(ProducerId id) const {
  auto found = producers_.find(id);
  if (found == producers_.end()) return std::nullopt;
  return found->second.last_sequence;
}

void ProducerTable::forget_oldest_session() {
  auto oldest = producers_.end();
  for (auto it = producers_.begin(); it != producers_.end(); ++it) {
    if (it->second.kind != ProducerKind::kSession) continue;
    if (oldest == producers_.end() || it->second.last_used < oldest->second.last_used) oldest = it;
  }
  WB_ASSERT(oldest != producers_.end(), "a session was counted");
  producers_.erase(oldest);
  --session_count_;
}

std::optional<RequestError> DurableProducers::refuse_open(
    const OpenProducerRequest& request) const {
  auto found = producers_.find(request.id);
  if (found == producers_.end()) {
    if (producers_.size() < limits::kMaxDurableProducers) return std::nullopt;
    return RequestError(Errc::kProducerLimit, "this broker remembers " +
                                                  std::to_string(limits::kMaxDurableProducers) +
                                                  " durable producers already");
  }
  if (request.epoch >= found->second.epoch) return std::nullopt;
  return RequestError(Errc::kFenced, "epoch " + std::to_string(request.epoch) + " is older than " +
                                         std::to_string(found->second.epoch) +
                                         ", which another owner opened");
}

std::optional<RequestError> DurableProducers::refuse_publish(const ProducerStamp& stamp) const {
  auto found = producers_.find(stamp.id);
  if (found == producers_.end() || stamp.epoch > found->second.epoch) {
    return RequestError(Errc::kInvalidRequest,
                        "this durable producer was not opened in this epoch; open it first");
  }
  if (stamp.epoch == found->second.epoch || mutant("no_fence")) return std::nullopt;
  return RequestError(Errc::kFenced, "epoch " + std::to_string(stamp.epoch) + " is older than " +
                                         std::to_string(found->second.epoch));
}

void DurableProducers::opened(ProducerId id, std::uint32_t epoch, std::string name) {
  producers_.insert_or_assign(id, DurableProducer{epoch, std::move(name)});
}

}  // namespace waybill
