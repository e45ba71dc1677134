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
  if (known.letters.size() > 1 && resets_ == 0) {
    report("one dead letter",
           "it has the numbers " + std::to_string(known.letters.begin()->first) + " and " +
               std::to_string(known.letters.rbegin()->first),
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
  if (letter.state == DeadLetterState::kDiscarded && !told.discard_sent && resets_ == 0) {
    report("a discard is somebody's", "nobody asked for it", where);
  }
  if (letter.redrives > known.redrives_sent) {
    report("redrives are counted exactly",
           std::to_string(letter.redrives) + " redrives, asked for " +
               std::to_string(known.redrives_sent),
           where);
  }
  if (dead && !known.vague) check_reason(letter, known);
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
  if (dead && newest && acked && !known.skipped) {
    report("one end", "acknowledged, and dead", where);
  }
}

void GroupModel::check_reason(const DeadLetterSummary& letter, const Message& known) {
  auto asked = [&](auto test) {
    return std::ranges::any_of(known.leases, [&](const auto& l) { return test(l.second); });
  };
  bool fits = true;
  switch (letter.reason) {
    case DeadLetterReason::kMaxFailures:
      fits = may_have_died(known.leases);
      coverage_.count("dead: max_failures");
      break;
    case DeadLetterReason::kInvalid:
      fits = asked([](const Lease& l) { return l.failure == FailureClass::kInvalid; });
      coverage_.count("dead: invalid");
      break;
    case DeadLetterReason::kRequested:
      fits = asked([](const Lease& l) { return l.asked_dead; });
      coverage_.count("dead: requested");
      break;
    case DeadLetterReason::kDeliveryLimit:
      fits = letter.deliveries >= max_deliveries_;
      coverage_.count("dead: delivery_limit");
      break;
    case DeadLetterReason::kExpired:
      fits =
          may_have_expired(place(letter.id.partition, letter.offset)) &&
          policy_.ever([](const GroupPolicy& p) { return p.on_expiry == OnExpiry::kDeadLetter; });
      coverage_.count("dead: expired");
      break;
    case DeadLetterReason::kCrashLoop:
      fits = known.leases.size() >= 20;
      break;
  }
  // A reset forgets the deliveries that an old dead letter is of.
  if (!fits && resets_ == 0) {
    report("a death has its reason", "nothing made it " + std::string(waybill::name(letter.reason)),
           place(letter.id.partition, letter.offset));
  }
}

void GroupModel::list_told(const std::vector<DeadLetterSummary>& letters, const Asked& asked) {
  // What a reset is doing to them nobody can say.
  if (resetting_ || asked.moment < forgotten_) return;
  std::set<Place> listed;
  for (const DeadLetterSummary& letter : letters) {
    Place where = place(letter.id.partition, letter.offset);
    Message& known = messages_[where];
    if (!listed.insert(where).second && resets_ == 0) {
      report("one dead letter", "it is listed twice", where);
    }
    check_letter(letter, known, asked);
  }
  for (const auto& [where, known] : messages_) {
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
  Letter& told = letter_of(messages_[place(letter.id.partition, letter.offset)], letter);
  if (!told.discard_sent && !resetting_) told.sent_after = resets_;
  told.discard_sent = true;
  resolve_full();
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
