#include "client/outbox/relay.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

namespace waybill {
namespace {

using std::chrono::milliseconds;
using SteadyClock = std::chrono::steady_clock;

constexpr milliseconds kNow{0};
/// All batches of one publish fit a frame, whatever the headers' framing adds.
constexpr std::size_t kMaxBatchBytes = 4 * 1024 * 1024;
constexpr std::size_t kMaxBatchRows = 10'000;
/// A broker that refuses the order of sequences twice although both sides agreed in between.
constexpr std::uint32_t kMaxSuspicions = 2;

std::string default_owner() {
  std::array<char, 256> host{};
  gethostname(host.data(), host.size() - 1);
  return std::string(host.data()) + "/" + std::to_string(getpid()) + "/" +
         std::to_string(system_seed() % 1'000'000);
}

RelayOptions completed(RelayOptions options) {
  if (options.owner.empty()) options.owner = default_owner();
  options.batch_rows = std::clamp<std::size_t>(options.batch_rows, 1, kMaxBatchRows);
  options.batch_bytes = std::clamp<std::size_t>(options.batch_bytes, 1, kMaxBatchBytes);
  return options;
}

/// The broker looked at the records and does not want them, now or ever: their rows are to blame.
/// Everything else is the lane's trouble.
bool blames_rows(Errc code) {
  switch (code) {
    case Errc::kUnknownTopic:
    case Errc::kUnknownPartition:
    case Errc::kInvalidBatch:
    case Errc::kMessageTooLarge:
    case Errc::kUnsupportedCompression:
    case Errc::kDecompressionLimit:
      return true;
    default:
      return false;
  }
}

bool place_is_gone(Errc code) {
  return code == Errc::kUnknownTopic || code == Errc::kUnknownPartition;
}

bool doubts_sequence(Errc code) {
  return code == Errc::kOutOfSequence || code == Errc::kProducerUnknown;
}

const RequestError* find_error(const PublishReply& reply, bool (*matches)(Errc)) {
  for (const Reply<PublishResult>& part : reply.parts) {
    if (!part && matches(part.error().code)) return &part.error();
  }
  return nullptr;
}

/// The rows of one part, in its order; empty if one is missing or its content changed.
std::vector<const OutboxRow*> rows_of(const IntentPart& part, const std::vector<OutboxRow>& rows) {
  std::vector<const OutboxRow*> found;
  for (std::int64_t id : part.rows) {
    auto row =
        std::find_if(rows.begin(), rows.end(), [&](const OutboxRow& one) { return one.id == id; });
    if (row == rows.end()) return {};
    found.push_back(&*row);
  }
  if (rows_checksum(found) != part.checksum) return {};
  return found;
}

}  // namespace

OutboxRelay::OutboxRelay(OutboxStore& store, OutboxPublisher& publisher, RelayOptions options)
    : store_(store),
      publisher_(publisher),
      options_(completed(std::move(options))),
      random_(system_seed()) {}

milliseconds OutboxRelay::step() {
  switch (phase_) {
    case Phase::kTakeLane:
      return take_lane();
    case Phase::kOpenProducer:
      return open_producer();
    case Phase::kSend:
      return send();
    case Phase::kLoad:
      return load();
  }
  WB_ASSERT(false, "a relay without a phase");
}

// --- taking the lane ---

milliseconds OutboxRelay::take_lane() {
  forget_lane();
  Reply<Lane> taken = store_.take_lane({options_.lane, options_.owner, options_.lease});
  if (!taken && taken.error() == Errc::kLaneOwned) {
    set_state(RelayState::kWaitingForLane, taken.error().explanation);
    return std::max(options_.lease / 4, milliseconds(1));
  }
  if (!taken) return back_off(taken.error());
  if (taken->mode != LaneMode::kRun) return rest(taken->mode);
  lane_ = std::move(*taken);
  in_flight_ = std::exchange(lane_.intent, {});
  for (const LanePosition& position : lane_.positions) {
    positions_[{position.topic, position.partition}] = position;
  }
  renewed_at_ = SteadyClock::now();
  phase_ = Phase::kOpenProducer;
  set_state(RelayState::kConnecting);
  return kNow;
}

void OutboxRelay::forget_lane() {
  phase_ = Phase::kTakeLane;
  lane_ = {};
  positions_.clear();
  in_flight_ = {};
  batches_.clear();
  acknowledged_.clear();
}

void OutboxRelay::lose_lane(const RequestError& error) {
  tell(error.code, error.explanation);
  refused_.clear();
  forget_lane();
  set_state(RelayState::kWaitingForLane, error.explanation);
}

// --- opening the producer: what did the past leave? ---

milliseconds OutboxRelay::open_producer() {
  Reply<MetadataReply> metadata = publisher_.metadata();
  if (!metadata) return back_off(metadata.error());
  Reply<OpenProducerReply> opened = publisher_.open_producer(
      {lane_.producer, lane_.claim.epoch, "outbox lane " + std::to_string(options_.lane)});
  if (!opened && opened.error() == Errc::kFenced) return fenced();
  if (!opened) return back_off(opened.error());
  catalog_ = std::move(metadata->catalog);
  LaneCheck check = check_lane(positions_, opened->positions, in_flight_, catalog_);
  if (check.who != WhoWentBack::kNobody) return went_back(check.explanation);
  return settle_intent(check);
}

/// Parts that the log has are acknowledged. Of the others, those that were refused are judged, and
/// the rest is sent again as it was. Nothing sent under an older epoch can arrive any more, so a
/// part that is not there may be given up and its rows planned anew under other numbers.
milliseconds OutboxRelay::settle_intent(const LaneCheck& check) {
  Reply<std::vector<OutboxRow>> rows = store_.load_rows(in_flight_.rows());
  if (!rows) return database_failed(rows.error());
  LaneAdvance change;
  change.acknowledged = check.appended;
  change.intent.codec = in_flight_.codec;
  std::vector<SharedBytes> batches;
  std::optional<RequestError> halts;
  for (const IntentPart& part : check.missing) {
    auto refusal = std::find_if(refused_.begin(), refused_.end(),
                                [&](const auto& one) { return one.first == part; });
    if (refusal != refused_.end()) {
      judge_refused(part, refusal->second, change, halts);
      continue;
    }
    std::vector<const OutboxRow*> found = rows_of(part, *rows);
    Result<ByteVector> batch = found.empty()
                                   ? Result<ByteVector>(Errc::kInvalidBatch, "rows in flight")
                                   : build_batch(in_flight_.codec, found);
    if (!batch) {
      tell(Errc::kInvalidBatch,
           "rows in flight were changed or deleted before they were published; what is left of "
           "them goes out in a new batch");
      continue;
    }
    change.intent.parts.push_back(part);
    batches.emplace_back(std::move(*batch));
  }
  if (change.intent != in_flight_) {
    Reply<bool> advanced = store_.advance(lane_.claim, change);
    if (!advanced) return database_failed(advanced.error());
    if (!*advanced) return back_off({Errc::kDatabase, "rows in flight disappeared meanwhile"});
  }
  for (const IntentPart& part : check.appended) acknowledge(part, true);
  apply(change);
  refused_.clear();
  batches_ = std::move(batches);
  if (halts) return halt(halts->code, halts->explanation);
  return forget_deleted(check);
}

/// Halves a part until the row to blame stands alone, then does with it what the options say.
void OutboxRelay::judge_refused(const IntentPart& part, const RequestError& error,
                                LaneAdvance& change, std::optional<RequestError>& halts) {
  if (place_is_gone(error.code)) return;  // planning decides, with the newer catalog
  if (part.rows.size() > 1) {
    part_limits_[part.place()] = part.rows.size() / 2;
  } else if (options_.on_refused == OnRefused::kHaltLane) {
    halts.emplace(error.code, "the broker refused row " + std::to_string(part.rows.front()) + ": " +
                                  to_string(error));
  } else {
    set_refused({part.rows.front(), error.code, error.explanation}, change);
  }
}

milliseconds OutboxRelay::forget_deleted(const LaneCheck& check) {
  for (TopicPartition place : check.deleted) {
    Reply<void> forgotten = store_.forget_position(lane_.claim, place);
    if (!forgotten) return database_failed(forgotten.error());
    positions_.erase(place);
    tell(Errc::kUnknownTopic, "topic id " + std::to_string(place.first.value) +
                                  " was deleted at the broker; its position is forgotten");
  }
  bool resend = !in_flight_.empty();
  phase_ = resend ? Phase::kSend : Phase::kLoad;
  set_state(RelayState::kRunning);
  return kNow;
}

milliseconds OutboxRelay::went_back(const std::string& explanation) {
  if (!options_.new_incarnation) {
    return halt(Errc::kWentBack,
                explanation +
                    "; to go on as a new producer (what was in flight may be published twice), "
                    "resume the lane ('waybill outbox resume') and start the relay with "
                    "--new-incarnation");
  }
  Reply<ProducerId> producer = store_.new_incarnation(lane_.claim);
  if (!producer) return database_failed(producer.error());
  tell(Errc::kWentBack, explanation + "; going on as producer " + to_string(producer->uuid));
  lane_.producer = *producer;
  positions_.clear();
  in_flight_ = {};
  batches_.clear();
  acknowledged_.clear();
  refused_.clear();
  phase_ = Phase::kOpenProducer;
  return kNow;
}

// --- sending ---

milliseconds OutboxRelay::send() {
  PublishRequest request;
  for (std::size_t i = 0; i < in_flight_.parts.size(); ++i) {
    const IntentPart& part = in_flight_.parts[i];
    ProducerStamp stamp{lane_.producer, ProducerKind::kDurable, lane_.claim.epoch, part.previous,
                        part.base_sequence};
    request.parts.push_back({part.topic, part.partition, stamp, std::nullopt, batches_[i]});
  }
  Reply<PublishReply> reply = publisher_.publish(request);
  if (!reply && reply.error() == Errc::kFenced) return fenced();
  if (!reply) return back_off(reply.error());
  if (reply->parts.size() != in_flight_.parts.size()) {
    return back_off({Errc::kOutcomeUnknown, "the broker answered for other parts than were sent"});
  }
  if (find_error(*reply, [](Errc code) { return code == Errc::kFenced; })) return fenced();
  if (const RequestError* error = find_error(*reply, doubts_sequence)) {
    if (++suspicions_ > kMaxSuspicions) {
      return halt(error->code,
                  "the broker refuses the order of sequences though both sides agree: " +
                      to_string(*error));
    }
    phase_ = Phase::kOpenProducer;  // compare both sides again
    return kNow;
  }
  // A part that may yet succeed: all are sent again; what is there already answers "duplicate".
  if (const RequestError* error =
          find_error(*reply, [](Errc code) { return !blames_rows(code); })) {
    return back_off(*error);
  }
  if (find_error(*reply, blames_rows)) return refused(*reply);
  return accepted(*reply);
}

milliseconds OutboxRelay::accepted(const PublishReply& reply) {
  for (std::size_t i = 0; i < reply.parts.size(); ++i) {
    acknowledge(in_flight_.parts[i], reply.parts[i]->duplicate);
    grow_part(in_flight_.parts[i].place());
  }
  {
    std::lock_guard lock(mutex_);
    ++status_.batches;
  }
  in_flight_ = {};
  batches_.clear();
  attempt_ = 0;
  suspicions_ = 0;
  phase_ = Phase::kLoad;
  set_state(RelayState::kRunning);
  return kNow;
}

/// An earlier, delayed copy of a refused part might still be accepted (its topic may exist by
/// then). So the lane is taken again first: the next epoch fences every copy, and what the broker
/// then says it has is final.
milliseconds OutboxRelay::refused(const PublishReply& reply) {
  refused_.clear();
  for (std::size_t i = 0; i < reply.parts.size(); ++i) {
    if (!reply.parts[i]) refused_.emplace_back(in_flight_.parts[i], reply.parts[i].error());
  }
  phase_ = Phase::kTakeLane;
  // A broker whose catalog and partitions disagree for a moment must not be asked in a hot loop.
  if (const RequestError* error = find_error(reply, place_is_gone)) return back_off(*error);
  return kNow;
}

/// Somebody opened our producer under a higher epoch: the lane's next owner, or, if the lane is
/// still ours, this database before it was restored.
milliseconds OutboxRelay::fenced() {
  Reply<LaneMode> mode = store_.renew_lane(lane_.claim);
  if (!mode) return database_failed(mode.error());
  return went_back("the database went back: the broker knows a higher epoch of this lane than " +
                   std::to_string(lane_.claim.epoch));
}

// --- loading and planning ---

milliseconds OutboxRelay::load() {
  SteadyClock::time_point now = SteadyClock::now();
  if (now - renewed_at_ > options_.lease / 3) {
    Reply<LaneMode> renewed = store_.renew_lane(lane_.claim);
    if (!renewed) return database_failed(renewed.error());
    renewed_at_ = now;
  }
  LoadRequest request{{}, options_.batch_rows, options_.batch_bytes};
  for (const IntentPart& part : acknowledged_) {
    request.except.insert(request.except.end(), part.rows.begin(), part.rows.end());
  }
  std::ranges::sort(request.except);
  Reply<LoadedRows> loaded = store_.load(lane_.claim, request);
  if (!loaded) return database_failed(loaded.error());
  if (loaded->mode != LaneMode::kRun) {
    return acknowledged_.empty() ? rest(loaded->mode) : flush_acknowledged();
  }
  BatchPlan plan = plan_batch({loaded->rows, catalog_, positions_, part_limits_, options_.codec});
  if (plan.unknown_topic && !std::exchange(catalog_fresh_, true)) return refresh_catalog();
  catalog_fresh_ = false;
  return start_batch(std::move(plan));
}

milliseconds OutboxRelay::flush_acknowledged() {
  LaneAdvance change;
  change.acknowledged = acknowledged_;
  Reply<bool> advanced = store_.advance(lane_.claim, change);
  if (!advanced) return database_failed(advanced.error());
  apply(change);
  return kNow;
}

milliseconds OutboxRelay::refresh_catalog() {
  Reply<MetadataReply> metadata = publisher_.metadata();
  if (!metadata) {
    catalog_fresh_ = false;
    return back_off(metadata.error());
  }
  catalog_ = std::move(metadata->catalog);
  return kNow;
}

milliseconds OutboxRelay::start_batch(BatchPlan plan) {
  LaneAdvance change;
  change.acknowledged = acknowledged_;
  bool halts = !plan.refused.empty() && options_.on_refused == OnRefused::kHaltLane;
  if (!halts) {
    change.intent = plan.intent;
    for (const RefusedRow& row : plan.refused) set_refused(row, change);
  }
  bool nothing = change.acknowledged.empty() && change.held.empty() && change.dead.empty();
  if (nothing && change.intent.empty() && !halts) {
    attempt_ = 0;
    set_state(RelayState::kIdle);
    return std::max(options_.sweep, milliseconds(1));
  }
  Reply<bool> advanced = store_.advance(lane_.claim, change);
  if (!advanced) return database_failed(advanced.error());
  if (!*advanced) return kNow;  // a row was deleted by somebody: load again
  apply(change);
  batches_ = std::move(plan.batches);
  if (halts) {
    return halt(plan.refused.front().code,
                "row " + std::to_string(plan.refused.front().id) +
                    " cannot be published: " + plan.refused.front().explanation);
  }
  phase_ = in_flight_.empty() ? Phase::kLoad : Phase::kSend;
  return kNow;
}

milliseconds OutboxRelay::rest(LaneMode mode) {
  RelayState state = mode == LaneMode::kPaused ? RelayState::kPaused : RelayState::kHalted;
  if (lane_.claim.epoch != 0) {
    ignore_error(store_.release_lane(lane_.claim), "the lease runs out by itself");
  }
  forget_lane();
  set_state(state);
  return std::max(options_.sweep, milliseconds(1));
}

// --- trouble ---

milliseconds OutboxRelay::database_failed(const RequestError& error) {
  if (error != Errc::kLaneOwned) return back_off(error);
  lose_lane(error);
  return kNow;
}

milliseconds OutboxRelay::back_off(const RequestError& error) {
  std::string reason = to_string(error);
  bool news = false;
  {
    std::lock_guard lock(mutex_);
    news = status_.state != RelayState::kBackingOff || status_.reason != reason;
  }
  if (news) tell(error.code, reason);
  set_state(RelayState::kBackingOff, reason);
  std::int64_t cap = std::max<std::int64_t>(options_.backoff_cap.count(), 1);
  std::int64_t ceiling = options_.backoff_base.count() << std::min(attempt_++, 20U);
  ceiling = std::clamp<std::int64_t>(ceiling, 1, cap);
  return milliseconds(
      1 + static_cast<std::int64_t>(random_.below(static_cast<std::uint64_t>(ceiling))));
}

milliseconds OutboxRelay::halt(Errc code, const std::string& note) {
  Reply<void> halted = store_.halt_lane(lane_.claim, note);
  if (!halted) return database_failed(halted.error());
  tell(code, note);
  suspicions_ = 0;
  refused_.clear();
  forget_lane();
  set_state(RelayState::kHalted, note);
  return std::max(options_.sweep, milliseconds(1));
}

// --- small changes of state ---

void OutboxRelay::set_refused(const RefusedRow& row, LaneAdvance& change) {
  bool dead = options_.on_refused == OnRefused::kToDead;
  (dead ? change.dead : change.held).push_back(row);
  tell(row.code,
       "row " + std::to_string(row.id) + (dead ? " is dead: " : " is held: ") + row.explanation);
  std::lock_guard lock(mutex_);
  ++(dead ? status_.dead : status_.held);
}

/// The database took the change: memory follows.
void OutboxRelay::apply(const LaneAdvance& change) {
  for (const IntentPart& part : change.intent.parts) {
    LanePosition& position = positions_[part.place()];
    position.topic = part.topic;
    position.partition = part.partition;
    position.next_sequence = std::max(position.next_sequence, part.last_sequence() + 1);
  }
  acknowledged_.clear();
  in_flight_ = change.intent;
  renewed_at_ = SteadyClock::now();
}

void OutboxRelay::acknowledge(const IntentPart& part, bool duplicate) {
  acknowledged_.push_back(part);
  LanePosition& position = positions_[part.place()];  // the next plan's `previous`
  position.acknowledged = std::max(position.acknowledged, part.last_sequence());
  std::lock_guard lock(mutex_);
  status_.published += part.rows.size();
  if (duplicate) status_.duplicates += part.rows.size();
}

void OutboxRelay::grow_part(TopicPartition place) {
  auto limit = part_limits_.find(place);
  if (limit == part_limits_.end()) return;
  limit->second *= 2;
  if (limit->second >= options_.batch_rows) part_limits_.erase(limit);
}

void OutboxRelay::set_state(RelayState state, std::string reason) {
  std::lock_guard lock(mutex_);
  status_.state = state;
  status_.reason = std::move(reason);
  status_.epoch = lane_.claim.epoch;
}

void OutboxRelay::tell(Errc code, std::string what) {
  if (options_.on_event) options_.on_event({code, std::move(what)});
}

RelayStatus OutboxRelay::status() const {
  std::lock_guard lock(mutex_);
  return status_;
}

// --- running ---

void OutboxRelay::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    milliseconds wait = step();
    if (wait > kNow) wait_for_news(wait, stop);
  }
  this->stop();
}

bool OutboxRelay::drain(milliseconds timeout) {
  SteadyClock::time_point deadline = SteadyClock::now() + timeout;
  bool drained = false;
  std::stop_source never;
  while (SteadyClock::now() < deadline) {
    milliseconds wait = step();
    RelayState state = status().state;
    drained = state == RelayState::kIdle;
    if (drained || state == RelayState::kPaused || state == RelayState::kHalted) break;
    auto left = std::chrono::ceil<milliseconds>(deadline - SteadyClock::now());
    if (wait > kNow) wait_for_news(std::min(wait, left), never.get_token());
  }
  stop();
  return drained;
}

/// One more try for what is in flight, then the lane is free for the next owner.
void OutboxRelay::stop() {
  if (phase_ == Phase::kSend) send();
  if (phase_ == Phase::kLoad && !acknowledged_.empty()) flush_acknowledged();
  if (lane_.claim.epoch != 0) {
    ignore_error(store_.release_lane(lane_.claim), "the lease runs out by itself");
  }
  forget_lane();
  set_state(RelayState::kStopped);
}

void OutboxRelay::kick() {
  {
    std::lock_guard lock(mutex_);
    kicked_ = true;
  }
  news_.notify_all();
}

void OutboxRelay::wait_for_news(milliseconds wait, const std::stop_token& stop) {
  SteadyClock::time_point until = SteadyClock::now() + wait;
  // Only a relay that waits for rows is woken early: back-off is not shortened by new rows.
  bool for_rows = phase_ == Phase::kLoad && status().state == RelayState::kIdle;
  while (SteadyClock::now() < until && !stop.stop_requested()) {
    if (for_rows && store_.changed()) return;
    auto left = std::chrono::ceil<milliseconds>(until - SteadyClock::now());
    std::unique_lock lock(mutex_);
    bool kicked =
        news_.wait_for(lock, stop, std::min(left, options_.poll), [this] { return kicked_; });
    if (kicked && std::exchange(kicked_, false) && for_rows) return;
  }
}

}  // namespace waybill
