// GroupModel, continued: dead letters, and what people do to them.
#include <algorithm>

#include "tests/sim/group_model.h"

namespace waybill {

GroupModel::Letter& GroupModel::letter_of(Message& message, const DeadLetterSummary& letter) {
  return message.letters[letter.id.number];
}

Asked GroupModel::ask() const {
  return {moment_, now(), world_.last_rest(), acked_, streak_.size()};
}

void GroupModel::check_letter(const DeadLetterSummary& letter, Message& known, const Asked& asked) {
  Place where = place(letter.id.partition, letter.offset);
  Letter& told = letter_of(known, letter);
  // One more for each time it began anew.
  if (known.letters.size() > 1 + resets_sent_) {
    report("one dead letter",
           "it has the numbers " + std::to_string(known.letters.begin()->first) + " to " +
               std::to_string(known.letters.rbegin()->first) + " and began anew at most " +
               std::to_string(resets_sent_) + " times",
           where);
  }
  if (letter.erased && !told.erase_sent) {
    report("an erasing is somebody's", "nobody asked for it", where);
  }
  bool dead = letter.state == DeadLetterState::kDead;
  if (letter.erased && (dead || letter.state == DeadLetterState::kRedriving)) {
    report("what is erased stays so", "it is " + std::string(waybill::name(letter.state)), where);
  }
  bool newest = letter.id.number == known.letters.rbegin()->first;
  if (letter.state == DeadLetterState::kDiscarded && !told.discard_sent &&
      !discarded_by_reset(letter)) {
    report("a discard is somebody's", "nobody asked for it", where);
  }
  if (letter.redrives > known.redrives_sent) {
    report("redrives are counted exactly",
           std::to_string(letter.redrives) + " redrives, asked for " +
               std::to_string(known.redrives_sent),
           where);
  }
  if (dead) check_reason(letter, known);
  if (known.changed > asked.moment) return;  // the list may be of before that
  if (letter.redrives < told.redrives_done) {
    report("redrives are counted exactly",
           std::to_string(letter.redrives) + " redrives, confirmed " +
               std::to_string(told.redrives_done),
           where);
  }
  if (told.discarded && letter.state != DeadLetterState::kDiscarded) {
    report("a discard is final", "it is " + std::string(waybill::name(letter.state)), where);
  }
  if (told.erased && !letter.erased) report("what is erased stays so", "it is there again", where);
  bool acked = known.acked && known.acked->redrive >= letter.redrives && !known.vague;
  if (dead && newest && acked) report("one end", "acknowledged, and dead", where);
}

/// A reset that takes dead letters with it leaves them discarded (D15).
bool GroupModel::discarded_by_reset(const DeadLetterSummary& letter) const {
  return dead_taken_from_ && letter.offset.value >= *dead_taken_from_;
}

/// Something that happened to it since it began may have made it dead for that reason.
bool GroupModel::may_have_reason(Place place, const Message& known, DeadLetterReason reason) const {
  auto asked = [&](auto test) {
    return std::ranges::any_of(known.leases, [&](const auto& l) { return test(l.second); });
  };
  switch (reason) {
    case DeadLetterReason::kMaxFailures:
      return may_have_died(known.leases);
    case DeadLetterReason::kInvalid:
      return asked([](const Lease& l) { return l.failure == FailureClass::kInvalid; });
    case DeadLetterReason::kRequested:
      return asked([](const Lease& l) { return l.asked_dead; });
    case DeadLetterReason::kDeliveryLimit:
      return may_be_worn_out(known.leases);
    case DeadLetterReason::kExpired:
      return may_have_expired(place) && policy_.ever([](const GroupPolicy& p) {
        return p.on_expiry == OnExpiry::kDeadLetter;
      });
    case DeadLetterReason::kCrashLoop:
      return known.leases.size() >= 20;
  }
  return false;
}

void GroupModel::check_reason(const DeadLetterSummary& letter, const Message& known) {
  Place where = place(letter.id.partition, letter.offset);
  bool limit = letter.reason == DeadLetterReason::kDeliveryLimit;
  bool fits =
      limit ? letter.deliveries >= max_deliveries_
            : known.reasons.contains(letter.reason) || may_have_reason(where, known, letter.reason);
  std::string reason(waybill::name(letter.reason));
  if (letter.reason != DeadLetterReason::kCrashLoop) coverage_.count("dead: " + reason);
  if (!fits) report("a death has its reason", "nothing made it " + reason, where);
}

void GroupModel::list_told(const std::vector<DeadLetterSummary>& letters, const Asked& asked) {
  // What a reset is doing to them nobody can say: each shard begins anew at a moment of its own.
  if (is_void(asked)) return;
  std::set<Place> listed;
  std::set<Place> open;
  for (const DeadLetterSummary& letter : letters) {
    Place where = place(letter.id.partition, letter.offset);
    listed.insert(where);
    bool is_open =
        letter.state == DeadLetterState::kDead || letter.state == DeadLetterState::kRedriving;
    if (is_open && !open.insert(where).second) {
      report("one dead letter", "two of them are open", where);
    }
    check_letter(letter, messages_[where], asked);
  }
  for (auto& [where, known] : messages_) {
    // What a reset did not leave dead goes again in its turn.
    if (known.changed <= asked.moment && !open.contains(where)) known.skipped = false;
    if (!known.died || known.changed > asked.moment) continue;
    if (known.died_in != life_) coverage_.count("dead letter over a restart");
    if (!listed.contains(where)) report("a dead letter stays", "it died and is gone", where);
  }
}

void GroupModel::show_told(const ShowDeadLetterReply& shown, const Asked& asked) {
  Place where = place(shown.summary.id.partition, shown.summary.offset);
  const SimMessage* original = log_.find(where);
  if (shown.summary.erased) {
    bool nothing = shown.versions.empty() && shown.attempts.empty();
    if (!nothing) report("what is erased is shown to nobody", "it is shown", where);
    return;
  }
  if (shown.versions.empty() || !shown.versions.front().message.value) {
    return report("a dead letter has its payload", "it has none", where);
  }
  std::string value(as_text(*shown.versions.front().message.value));
  if (original != nullptr && value != original->value) {
    report("a dead letter has its payload", "another value", where);
  }
  Message& known = messages_[where];
  const Letter& letter = letter_of(known, shown.summary);
  std::string newest(as_text(shown.versions.back().message.value.value_or(ByteVector{})));
  if (known.changed > asked.moment || !letter.open_fixes.empty()) return;
  if (letter.last_fix && newest != *letter.last_fix) {
    report("a fix stays", "the newest version is another", where);
  }
}

void GroupModel::redrive_sent(const DeadLetterSummary& letter) {
  Message& known = messages_[place(letter.id.partition, letter.offset)];
  known.letters.try_emplace(letter.id.number);
  ++known.redrives_sent;
  known.changed = ++moment_;
  resolve_full();
}

void GroupModel::redrive_told(const DeadLetterSummary& letter, const Reply<RedriveReply>& reply) {
  Place where = place(letter.id.partition, letter.offset);
  Message& known = messages_[where];
  known.changed = ++moment_;
  resolve_full();
  if (!reply) return;
  if (reply->redriven > 1) report("a redrive is of what was chosen", "several", where);
  if (reply->redriven == 1) {
    coverage_.count("redriven");
    ++letter_of(known, letter).redrives_done;
  }
}

void GroupModel::discard_sent(const DeadLetterSummary& letter) {
  resolve_full();
  if (letter.state == DeadLetterState::kDiscarded) return;  // for good: by a person or a reset
  Letter& told = letter_of(messages_[place(letter.id.partition, letter.offset)], letter);
  if (!told.discard_sent && !resetting_) told.sent_after = resets_;
  told.discard_sent = true;
}

void GroupModel::discard_told(const DeadLetterSummary& letter, const Reply<DiscardReply>& reply) {
  resolve_full();
  if (!reply || reply->discarded != 1) return;
  coverage_.count("discarded");
  Message& known = messages_[place(letter.id.partition, letter.offset)];
  letter_of(known, letter).discarded = true;
  known.changed = ++moment_;
}

void GroupModel::erase_sent(const DeadLetterSummary& letter) {
  letter_of(messages_[place(letter.id.partition, letter.offset)], letter).erase_sent = true;
}

void GroupModel::erase_told(const DeadLetterSummary& letter, const Reply<DiscardReply>& reply) {
  if (!reply || reply->erased != 1) return;
  coverage_.count("erased");
  Message& known = messages_[place(letter.id.partition, letter.offset)];
  letter_of(known, letter).erased = true;
  known.changed = ++moment_;
}

void GroupModel::fix_sent(const DeadLetterSummary& letter, const std::string& value) {
  Message& known = messages_[place(letter.id.partition, letter.offset)];
  letter_of(known, letter).open_fixes.insert(value);
}

void GroupModel::fix_told(const DeadLetterSummary& letter, const std::string& value,
                          const Reply<EditDeadLetterReply>& reply) {
  Message& known = messages_[place(letter.id.partition, letter.offset)];
  known.changed = ++moment_;
  if (!reply && reply.error() == Errc::kOutcomeUnknown) return;
  Letter& told = letter_of(known, letter);
  told.open_fixes.erase(value);
  if (!reply) return;
  coverage_.count("fixed");
  told.last_fix = value;
}

}  // namespace waybill
