#include "broker/core/dead_letter_desk.h"

#include <algorithm>
#include <map>
#include <memory>
#include <string>

#include "broker/core/shard.h"
#include "protocol/base/limits.h"
#include "protocol/record/batch_builder.h"
#include "protocol/record/batch_view.h"
#include "protocol/record/record_batch.h"
#include "protocol/record/reserved_headers.h"

namespace waybill {
namespace {

/// A longer key is left out of lists, so that a page of them fits a frame; show has it.
constexpr std::size_t kMaxListedKey = 1024;

DeadLetterSummary summary_of(const GroupPartition& partition, std::uint64_t number,
                             const DeadLetter& letter) {
  DeadLetterSummary summary;
  summary.id = {partition.group, partition.index, number};
  summary.offset = letter.offset;
  summary.state = letter.state;
  summary.reason = letter.reason;
  summary.fingerprint = letter.fingerprint;
  summary.failures = letter.failures;
  summary.deliveries = letter.deliveries;
  summary.redrives = letter.redrives;
  // Its records are its deaths and its fixes. It died once more than it was redriven, unless it is
  // away (or went for good) right now.
  bool away =
      letter.state == DeadLetterState::kRedriving || letter.state == DeadLetterState::kRedriven;
  std::uint32_t deaths = letter.redrives + (away ? 0 : 1);
  summary.versions = 1 + static_cast<std::uint32_t>(letter.records.size()) - deaths;
  summary.died_at = letter.died_at;
  if (const Failure* example = partition.dead_letters.example(letter.fingerprint)) {
    summary.last_failure = *example;
  }
  if (letter.erased) {
    summary.erased = true;
    summary.versions = 0;
    summary.last_failure.detail.clear();  // another one's, if anybody's
  }
  return summary;
}

/// The message as its publisher wrote it: without what the broker keeps beside it.
Message message_of(const RecordView& record) {
  Message message;
  if (record.key) message.key = to_vector(*record.key);
  if (record.value) message.value = to_vector(*record.value);
  message.timestamp = record.timestamp;
  for (const HeaderView& header : record.headers) {
    if (header.key == kDeathHeader || header.key == kFixHeader) continue;
    message.headers.push_back({std::string(header.key), to_vector(header.value)});
  }
  return message;
}

/// Adds what one record of the dead-letter stream tells: a death's attempts, or a fix.
Result<void> add_record(const SharedBytes& batch, bool first, ShowDeadLetterReply& reply) {
  Result<BatchReader> reader = BatchReader::open(batch.view());
  if (!reader) return reader.error();
  Result<std::optional<RecordView>> record = reader->next();
  if (!record) return record.error();
  if (!record->has_value()) return {Errc::kDamaged, "a dead letter without its record"};
  const RecordView& view = **record;
  if (std::optional<Bytes> death = view.headers.find(kDeathHeader)) {
    Result<DeathFacts> facts = decode_death(*death);
    if (!facts) return facts.error();
    for (Attempt& attempt : facts->attempts) reply.attempts.push_back(std::move(attempt));
    if (first) reply.versions.push_back({0, view.timestamp, "", "", message_of(view)});
    return {};
  }
  std::optional<Bytes> fix = view.headers.find(kFixHeader);
  if (!fix) return {Errc::kDamaged, "a dead letter's record without its facts"};
  Result<FixFacts> facts = decode_fix(*fix);
  if (!facts) return facts.error();
  auto version = static_cast<std::uint32_t>(reply.versions.size());
  reply.versions.push_back({version, facts->at, facts->by, facts->note, message_of(view)});
  return {};
}

RequestError was_erased() {
  return {Errc::kDeadLetterState, "it was erased: its payload is gone"};
}

/// Reads all records of a dead letter, one after the other, then answers.
struct ShowCall : std::enable_shared_from_this<ShowCall> {
  ShowCall(ShardLog& shard_log, StreamId dead_stream) : log(shard_log), stream_id(dead_stream) {}

  void read_next() {
    if (next == records.size()) {
      // Newest kept, over all its deaths.
      if (reply.attempts.size() > limits::kMaxAttemptHistory) {
        reply.attempts.erase(reply.attempts.begin(),
                             reply.attempts.end() - limits::kMaxAttemptHistory);
      }
      reply.summary.versions = static_cast<std::uint32_t>(reply.versions.size());
      if (!reply.attempts.empty()) reply.summary.last_failure = reply.attempts.back().failure;
      if (!reply.versions.empty()) reply.summary.key = reply.versions.back().message.key;
      return done(std::move(reply));
    }
    auto self = shared_from_this();
    const Stream* stream = log.find_stream(stream_id);
    if (stream == nullptr) return done(RequestError(Errc::kUnknownGroup, "the group was deleted"));
    log.read(*stream, records[next], records[next] + 1,
             [self](Result<std::vector<SharedBytes>> batches) {
               if (!batches) return self->done(self->log.explain(batches.error()));
               if (batches->empty()) return self->done(was_erased());  // meanwhile
               Result<void> added = add_record(batches->front(), self->next == 0, self->reply);
               if (!added) return self->done(RequestError(added.error()));
               ++self->next;
               self->read_next();
             });
  }

  ShardLog& log;
  StreamId stream_id;
  std::vector<Offset> records;
  std::size_t next = 0;
  ShowDeadLetterReply reply;
  Done<ShowDeadLetterReply> done;
};

/// What a list shows of the payload: the newest record's key, and its own last failure if that
/// record is a death (a fix has none; the fingerprint's example stands for it then).
Result<void> add_newest(const SharedBytes& batch, DeadLetterSummary& summary) {
  Result<BatchReader> reader = BatchReader::open(batch.view());
  if (!reader) return reader.error();
  Result<std::optional<RecordView>> record = reader->next();
  if (!record) return record.error();
  if (!record->has_value()) return {Errc::kDamaged, "a dead letter without its record"};
  std::optional<Bytes> key = (*record)->key;
  if (key && key->size() <= kMaxListedKey) summary.key = to_vector(*key);
  if (std::optional<Bytes> death = (*record)->headers.find(kDeathHeader)) {
    Result<DeathFacts> facts = decode_death(*death);
    if (!facts) return facts.error();
    if (!facts->attempts.empty()) summary.last_failure = facts->attempts.back().failure;
  }
  return {};
}

/// A list while the newest records of its page are being read.
struct ListCall {
  ListDeadLettersReply reply;
  std::size_t missing = 1;  ///< the call itself is one, so that a quick answer cannot end it early
  std::optional<Error> error;
  Done<ListDeadLettersReply> done;

  void finish_one() {
    if (--missing > 0) return;
    if (error) return done(RequestError(*error));
    done(std::move(reply));
  }
};

RequestError unknown(DeadLetterId id) {
  return {Errc::kUnknownDeadLetter, "there is no dead letter " +
                                        std::to_string(id.partition.value) + "-" +
                                        std::to_string(id.number) + " in this group"};
}

/// An id of an earlier group of the same name means another dead letter (D1). People may leave the
/// group's id out.
bool of_this_group(const DeadLetterId& id, GroupId group) {
  return id.group == GroupId{} || id.group == group;
}

bool matches(const GroupPartition& partition, std::uint64_t number, const DeadLetter& letter,
             const DeadLetterSelection& selection) {
  if (!selection.ids.empty()) {
    DeadLetterId id{partition.group, partition.index, number};
    bool named = std::ranges::any_of(selection.ids, [&](const DeadLetterId& wanted) {
      return wanted.partition == id.partition && wanted.number == id.number &&
             of_this_group(wanted, id.group);
    });
    if (!named) return false;
  }
  if (selection.fingerprint && *selection.fingerprint != letter.fingerprint) return false;
  if (selection.state && *selection.state != letter.state) return false;
  if (selection.code) {
    const Failure* example = partition.dead_letters.example(letter.fingerprint);
    if (example == nullptr || example->code != *selection.code) return false;
  }
  return true;
}

}  // namespace

void DeadLetterDesk::for_each(GroupId group_id, const DeadLetterSelection& selection,
                              const Found& found) {
  ConsumerGroup* group = delivery_.find(group_id);
  if (group == nullptr) return;
  for (const auto& partition : group->partitions) {
    for (const auto& [number, letter] : partition->dead_letters.all()) {
      if (matches(*partition, number, letter, selection)) found(*partition, number, letter);
    }
  }
}

template <class R>
void DeadLetterDesk::refuse(Done<R> done, RequestError error) {
  log_.when_durable([done = std::move(done), error = std::move(error)](bool durable) mutable {
    if (!durable) error = {Errc::kOutcomeUnknown, "the shard stopped"};
    done(std::move(error));
  });
}

void DeadLetterDesk::list(GroupId group, ListDeadLettersRequest request,
                          Done<ListDeadLettersReply> done) {
  auto call = std::make_shared<ListCall>();
  ListDeadLettersReply& reply = call->reply;
  struct Newest {
    std::size_t index = 0;  ///< of its dead letter in the page
    StreamId stream;
    Offset record;
  };
  std::vector<Newest> newest;
  std::map<std::uint64_t, FingerprintCount> counts;
  for_each(group, request.selection,
           [&](GroupPartition& partition, std::uint64_t number, const DeadLetter& letter) {
             DeadLetterSummary summary = summary_of(partition, number, letter);
             FingerprintCount& count = counts[letter.fingerprint];
             count.fingerprint = letter.fingerprint;
             if (count.count == 0 || !letter.erased) count.example = summary.last_failure;
             ++count.count;
             bool later =
                 !request.after || std::pair(summary.id.partition, summary.id.number) >
                                       std::pair(request.after->partition, request.after->number);
             if (!later) return;
             if (reply.dead_letters.size() == request.limit) {
               reply.more = true;
             } else {
               const std::size_t index = reply.dead_letters.size();
               reply.dead_letters.push_back(std::move(summary));
               if (letter.erased) return;
               newest.emplace_back(index, partition.dead_stream.id(), letter.records.back());
             }
           });
  for (auto& [fingerprint, count] : counts) reply.fingerprints.push_back(std::move(count));
  call->done = std::move(done);
  log_.when_durable([this, call, newest = std::move(newest)](bool durable) {
    if (!durable) return call->done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    for (const Newest& one : newest) {
      const Stream* stream = log_.find_stream(one.stream);
      if (stream == nullptr) continue;  // the group was deleted meanwhile
      ++call->missing;
      log_.read(*stream, one.record, one.record + 1,
                [call, i = one.index](Result<std::vector<SharedBytes>> batches) {
                  if (!batches) {
                    call->error = batches.error();
                  } else if (batches->empty()) {
                    call->reply.dead_letters[i].erased = true;  // meanwhile
                  } else if (Result<void> added =
                                 add_newest(batches->front(), call->reply.dead_letters[i]);
                             !added) {
                    call->error = added.error();
                  }
                  call->finish_one();
                });
    }
    call->finish_one();
  });
}

std::pair<GroupPartition*, const DeadLetter*> DeadLetterDesk::find(GroupId group_id,
                                                                   const DeadLetterId& id) {
  ConsumerGroup* group = delivery_.find(group_id);
  if (group == nullptr || !of_this_group(id, group_id)) return {nullptr, nullptr};
  GroupPartition* partition = group->find(id.partition);
  if (partition == nullptr) return {nullptr, nullptr};
  return {partition, partition->dead_letters.find(id.number)};
}

void DeadLetterDesk::show(GroupId group_id, DeadLetterId id, Done<ShowDeadLetterReply> done) {
  auto [partition, letter] = find(group_id, id);
  if (letter == nullptr) return refuse(std::move(done), unknown(id));
  auto call = std::make_shared<ShowCall>(log_, partition->dead_stream.id());
  if (!letter->erased) call->records = letter->records;
  call->reply.summary = summary_of(*partition, id.number, *letter);
  call->done = std::move(done);
  // What is staged only now is not shown before it is durable (S12).
  log_.when_durable([call](bool durable) {
    if (!durable) return call->done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    call->read_next();
  });
}

void DeadLetterDesk::edit(GroupId group_id, EditDeadLetterRequest request,
                          Done<EditDeadLetterReply> done) {
  // The timestamp stands in the original record: it is read first, and everything checked then.
  DeadLetterId id = request.id;
  show(group_id, id,
       [this, group_id, request = std::move(request),
        done = std::move(done)](Reply<ShowDeadLetterReply> shown) mutable {
         if (!shown) return done(shown.error());
         if (shown->versions.empty()) return done(was_erased());
         WallTime timestamp = shown->versions.front().message.timestamp;
         add_version(group_id, request, timestamp, std::move(done));
       });
}

void DeadLetterDesk::add_version(GroupId group, const EditDeadLetterRequest& request,
                                 WallTime timestamp, Done<EditDeadLetterReply> done) {
  auto [partition, letter] = find(group, request.id);
  if (letter == nullptr) return refuse(std::move(done), unknown(request.id));
  if (letter->state != DeadLetterState::kDead) {
    return refuse(std::move(done),
                  {Errc::kDeadLetterState,
                   "it is " + std::string(name(letter->state)) + "; only a dead one can be fixed"});
  }
  std::uint32_t newest = summary_of(*partition, request.id.number, *letter).versions - 1;
  if (request.base_version != newest) {
    return refuse(
        std::move(done),
        {Errc::kDeadLetterState,
         "version " + std::to_string(newest) + " is newer than the version " +
             std::to_string(request.base_version) + " that was edited; look at it and edit again"});
  }
  ByteVector facts = encode(FixFacts{log_.clock().wall(), request.by, request.note});
  RecordDraft draft;
  const Message& message = request.message;
  if (message.key) draft.key = *message.key;
  if (message.value) draft.value = *message.value;
  for (const Header& header : message.headers) {
    if (header.key == kFixHeader || header.key == kDeathHeader) continue;
    draft.headers.emplace_back(header.key, header.value);
  }
  draft.headers.emplace_back(kFixHeader, facts);
  draft.timestamp = timestamp;
  BatchBuilder builder;
  if (Result<void> added = builder.add(draft); !added) {
    return refuse(std::move(done), RequestError(added.error()));
  }
  ByteVector batch = builder.build();
  if (log_.admit(batch.size() + 4096, true) != Admission::kAdmitted) {
    return refuse(std::move(done), {Errc::kDiskFull, "no room for the fix; try again later"});
  }
  Offset record = partition->dead_stream.end();
  stamp_base_offset(batch, record);
  stamp_leader_epoch(batch, 0);
  delivery_.stage(*partition, request.id.number, FixedOp{record}, batch);
  log_.when_durable([done = std::move(done), newest](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    done(EditDeadLetterReply{newest + 1});
  });
}

void DeadLetterDesk::redrive(GroupId group, RedriveRequest request, Done<RedriveReply> done) {
  if (const ConsumerGroup* known = delivery_.find(group); known && known->info.archived) {
    return refuse(std::move(done), is_archive(Errc::kUnknownGroup, known->info.name));
  }
  std::vector<std::pair<GroupPartition*, std::uint64_t>> chosen;
  RedriveReply reply;
  std::optional<RequestError> error;
  for_each(group, request.selection,
           [&](GroupPartition& partition, std::uint64_t number, const DeadLetter& letter) {
             if (letter.state != DeadLetterState::kDead) {
               ++reply.skipped;
               if (letter.erased) error = was_erased();
             } else if (letter.redrives >= limits::kMaxRedrives && !request.override_limit) {
               ++reply.skipped;
               error.emplace(Errc::kRedriveLimit,
                             "a dead letter was redriven " + std::to_string(letter.redrives) +
                                 " times already; fix it, or override the limit");
             } else {
               chosen.emplace_back(&partition, number);
             }
           });
  if (error && chosen.empty()) return refuse(std::move(done), std::move(*error));
  if (log_.admit(chosen.size() * 256 + 4096, true) != Admission::kAdmitted) {
    return refuse(std::move(done), {Errc::kDiskFull, "no room to record it; try again later"});
  }
  for (auto [partition, number] : chosen) delivery_.redrive(*partition, number, request.by);
  reply.redriven = chosen.size();
  log_.when_durable([done = std::move(done), reply](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    done(reply);
  });
}

void DeadLetterDesk::discard(GroupId group, DiscardRequest request, Done<DiscardReply> done) {
  std::vector<std::pair<GroupPartition*, std::uint64_t>> chosen;
  DiscardReply reply;
  for_each(group, request.selection,
           [&](GroupPartition& partition, std::uint64_t number, const DeadLetter& letter) {
             const bool dead = letter.state == DeadLetterState::kDead;
             if (dead) ++reply.discarded;
             if (dead || (request.erase && letter.can_be_erased())) {
               chosen.emplace_back(&partition, number);
             } else {
               ++reply.skipped;
             }
           });
  if (log_.admit(chosen.size() * (256 + request.reason.size()) + 4096, true) !=
      Admission::kAdmitted) {
    return refuse(std::move(done), {Errc::kDiskFull, "no room to record it; try again later"});
  }
  const WallTime now = log_.clock().wall();
  for (auto [partition, number] : chosen) {
    DeadLetterOp op = DiscardedOp{now, request.by, request.reason};
    if (request.erase) op = ErasedOp{now, request.by, request.reason};
    delivery_.stage(*partition, number, std::move(op));
  }
  metrics_.discarded += reply.discarded;
  if (request.erase) reply.erased = chosen.size();
  log_.when_durable([done = std::move(done), reply](bool durable) mutable {
    if (!durable) return done(RequestError(Errc::kOutcomeUnknown, "the shard stopped"));
    done(reply);
  });
}

}  // namespace waybill
