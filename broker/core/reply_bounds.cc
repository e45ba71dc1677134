#include "broker/core/reply_bounds.h"

#include <algorithm>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace waybill {
namespace {

/// For the frame's header and everything of a reply but its versions: attempts, failures, names.
constexpr std::size_t kBesideVersions = 256 * 1024;
/// Of a version, a header or a field in protobuf, at most.
constexpr std::size_t kFieldOverhead = 32;

static_assert(kMaxListedFingerprints + limits::kMaxPage <=
                  limits::kMaxFrameMeta / (limits::kMaxFailureDetail + 512),
              "a full page and its fingerprints fit a frame's metadata");
static_assert(2 * (limits::kMaxMessage + limits::kMaxHeaderBytes) + kBesideVersions <=
                  limits::kMaxFrame,
              "the newest version and the summary's key fit a frame");

/// Bytes in the two parts of a frame.
struct Cost {
  std::size_t meta = 0;
  std::size_t body = 0;
};

Cost cost_of(const DeadLetterVersion& version) {
  Cost cost;
  cost.meta = 4 * kFieldOverhead + version.by.size() + version.note.size();
  for (const Header& header : version.message.headers) {
    cost.meta += header.key.size() + header.value.size() + kFieldOverhead;
  }
  if (version.message.key) cost.body += version.message.key->size();
  if (version.message.value) cost.body += version.message.value->size();
  return cost;
}

}  // namespace

void fit_frame(ListDeadLettersReply& reply) {
  if (reply.fingerprints.size() <= kMaxListedFingerprints) return;
  std::ranges::sort(reply.fingerprints, std::greater(), [](const FingerprintCount& count) {
    return std::pair(count.count, count.fingerprint);
  });
  reply.fingerprints.resize(kMaxListedFingerprints);
}

void fit_frame(ShowDeadLetterReply& reply) {
  std::size_t count = reply.versions.size();
  if (count == 0) return;
  Cost room{limits::kMaxFrameMeta - kBesideVersions, limits::kMaxFrame - kBesideVersions};
  if (reply.summary.key) room.body -= reply.summary.key->size();
  std::vector<std::size_t> by_worth{count - 1, 0};
  for (std::size_t i = count - 1; i-- > 1;) by_worth.push_back(i);
  std::vector<bool> kept(count, false);
  for (std::size_t i : by_worth) {
    Cost cost = cost_of(reply.versions[i]);
    if (kept[i] || cost.meta > room.meta || cost.meta + cost.body > room.body) continue;
    kept[i] = true;
    room.meta -= cost.meta;
    room.body -= cost.meta + cost.body;
  }
  std::vector<DeadLetterVersion> versions;
  for (std::size_t i = 0; i < count; ++i) {
    if (kept[i]) versions.push_back(std::move(reply.versions[i]));
  }
  reply.versions = std::move(versions);
}

Reply<void> check_fits(const ListProducersReply& reply) {
  constexpr std::size_t kPosition = 24;  // bytes, at most
  constexpr std::size_t kElementsBesides = 3;
  std::size_t positions = 0;
  std::size_t bytes = 0;
  for (const ProducerInfo& producer : reply.producers) {
    positions += producer.positions.size();
    bytes += kFieldOverhead + sizeof producer.id + producer.name.size();
  }
  bool fits = bytes + positions * kPosition <= limits::kMaxFrameMeta &&
              positions + kElementsBesides * reply.producers.size() <= limits::kMaxMetaElements;
  if (fits) return {};
  return RequestError(Errc::kMessageTooLarge,
                      std::to_string(reply.producers.size()) +
                          " durable producers have published to " + std::to_string(positions) +
                          " partitions together, more than one answer holds; remove those that "
                          "nobody uses any more");
}

}  // namespace waybill
