// The mutants that the simulation must catch: names as in mutant("…") calls of the broker.
#pragma once

#include <cstdint>
#include <string_view>

namespace waybill {

struct Mutant {
  std::string_view name;
  std::string_view what;
  std::uint64_t seeds;  ///< caught within the first so many seeds
};

inline constexpr Mutant kMutants[] = {
    {"reply_before_durable", "answers leave before what they tell of is durable", 50},
    {"duplicate_before_durable", "a duplicate is answered before the original is durable", 1000},
    {"deliver_before_durable", "a message leaves before its lease is durable", 50},
    {"read_before_durable", "readers see what is only staged", 200},
    {"journal_is_not_synced", "journal writes stay in a cache", 50},
    {"skip_directory_sync", "a new journal file's name is not made durable", 200},
    {"new_directory_is_not_synced", "a stream's new directory is not made durable", 1000},
    {"ignore_write_errors", "a failed journal write counts as done", 200},
    {"ignore_short_writes", "a short journal write counts as done", 200},
    {"what_is_carried_is_lost", "a start does not look at what was carried forward", 50},
    {"dead_letter_in_two_frames", "state and payload of a dead letter in two frames", 500},
    {"forget_failures_on_restart", "failures are counted in memory only", 50},
    {"forget_acks_on_restart", "acknowledgements are kept in memory only", 50},
    {"forget_producers_on_restart", "producers' sequences are kept in memory only", 50},
    {"tokens_begin_anew", "tokens do not carry the start number", 50},
    {"ignore_token", "a settlement needs no token", 50},
    {"ignore_instance", "any instance may settle with a token", 200},
    {"half_a_lease", "a lease lasts half as long as told", 50},
    {"orphans_wait_for_ever", "leases of before a restart never come back", 50},
    {"charge_unstarted", "a lease that ran out before work began is a failure", 50},
    {"charge_released", "releasing is a failure", 50},
    {"charge_unexplained", "a vanished consumer or a restart is a failure", 50},
    {"charge_the_crowd", "a consumer that vanished is charged to all it held", 100},
    {"last_attempt_in_company", "a last attempt after a timeout is not alone", 200},
    {"charge_transient", "transient failures are charged", 50},
    {"one_attempt_more", "a message dies one failure too late", 50},
    {"redrives_are_not_counted", "a redrive is not counted", 50},
    {"redrive_the_original", "a redrive delivers the original, not the fix", 50},
    {"uncounted_dead", "accounting forgets dead letters", 50},
    {"compare_is_ignored", "compare-and-append appends anyway", 50},
    {"busy_keys_go", "a key may have two messages out at once", 50},
    {"pass_the_held", "a dead letter holds nobody", 100},
    {"nothing_is_revoked", "a failure in a partition revokes nothing behind it", 100},
    {"leave_in_any_order", "leases of a partition leave when they are read", 200},
    {"before_its_time", "not-before times are ignored", 100},
    {"expiry_is_ignored", "expiry times are ignored", 500},
    {"deliver_while_paused", "a paused group delivers", 500},
    {"brake_never_trips", "the brake does not trip, whatever fails", 200},
    {"brake_is_forgotten", "a restart forgets the brake", 200},
    {"hold_without_bound", "what is held is not bounded", 300},
    {"go_at_once", "what failed does not wait", 50},
    {"resets_keep_leases", "a reset does not void leases", 300},
    {"compact_above_floor", "compaction takes what a group is not done with", 200},
    {"compact_the_latest", "compaction keeps the first of a key, not the latest", 200},
    {"unlink_before_checkpoint", "what compaction replaced goes before a checkpoint says so", 200},
    {"forget_to_erase", "a restart forgets what is still to be erased", 500},
    {"no_fence", "an old epoch of a durable producer may publish", 200},
};

}  // namespace waybill
