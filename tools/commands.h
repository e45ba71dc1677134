// Every command of `waybill`: its options as a plain struct, and the function that runs it. The
// command line (command_line.h) makes one of these structs; nothing here knows how it was spelled.
//
// To add a command: 1 its struct and run() here, 2 its struct in Command, 3 its options in
// command_line_*.cc, 4 run() in the .cc of its family.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/model/grant.h"
#include "protocol/model/group_policy.h"
#include "protocol/model/message.h"
#include "protocol/model/requests.h"
#include "tools/bench.h"
#include "tools/exit_code.h"

namespace waybill::cli {

class BrokerSession;

// --- topics ---

/// What was said of a topic's policy; the rest stays.
struct TopicChanges {
  std::optional<std::chrono::milliseconds> retention;
  std::optional<std::chrono::milliseconds> drop_after;
  std::optional<std::uint64_t> drop_above;
  std::optional<Cleanup> cleanup;
  std::optional<std::chrono::milliseconds> tombstone_delay;
  friend bool operator==(const TopicChanges&, const TopicChanges&) = default;
};
struct TopicCreate {
  std::string name;
  std::uint32_t partitions = 1;
  TopicChanges policy;
};
struct TopicSet {
  std::string name;
  TopicChanges policy;
};
struct TopicList {};
struct TopicDescribe {
  std::string name;
};
struct TopicDelete {
  std::string name;
  bool yes = false;
};

// --- publishing ---

/// A time, or so long after a message was read.
using Moment = std::variant<WallTime, std::chrono::milliseconds>;

struct Publish {
  std::string topic;
  std::string file = "-";
  bool json_lines = false;
  std::string key_jq;
  std::string key_separator;
  std::vector<Header> headers;
  std::optional<std::uint32_t> partition;
  std::optional<Moment> not_before;
  std::optional<Moment> expires;
  Codec compression = Codec::kNone;
};

// --- producers ---

struct ProducerList {};
struct ProducerRemove {
  std::string id;
  bool yes = false;
};

// --- groups ---

/// What a command line says about a policy; what it does not say stays as it is.
struct PolicyChanges {
  std::optional<Ordering> ordering;
  std::optional<std::uint32_t> max_failures;
  std::optional<std::chrono::milliseconds> lease;
  std::optional<BackoffKind> backoff;
  std::optional<std::chrono::milliseconds> backoff_base;
  std::optional<double> backoff_factor;
  std::optional<std::chrono::milliseconds> backoff_cap;
  std::optional<Jitter> jitter;
  std::optional<OnDeadLetter> on_dead_letter;
  std::optional<std::uint32_t> window;
  std::optional<Attempts> attempts;
  std::optional<FailureAction> on_transient;
  std::optional<FailureAction> on_failed;
  std::optional<FailureAction> on_invalid;
  std::optional<FailureAction> on_timeout;
  std::optional<std::chrono::milliseconds> free_for;
  std::optional<bool> brake;
  std::optional<std::uint32_t> brake_outcomes;
  std::optional<std::uint32_t> brake_percent;
  std::optional<std::uint32_t> brake_in_a_row;
  std::optional<std::chrono::milliseconds> brake_period;
  std::optional<std::chrono::milliseconds> brake_probe_after;
  std::optional<std::uint32_t> brake_probes;
  std::optional<OnExpiry> on_expiry;
  std::optional<std::uint32_t> max_held;
};
GroupPolicy changed(GroupPolicy policy, const PolicyChanges& changes);

struct GroupCreate {
  std::string name;
  std::string topic;
  PolicyChanges policy;
  GroupStart start;
};
struct GroupSet {
  std::string name;
  PolicyChanges policy;
};
struct GroupList {};
struct GroupDescribe {
  std::string name;
};
struct GroupCheck {
  std::string name;
};
/// `pause` and `resume`.
struct GroupPause {
  std::string name;
  bool paused = true;
};
struct GroupBrake {
  std::string name;
  BrakeMode mode = BrakeMode::kAutomatic;
};
struct GroupReset {
  std::string name;
  GroupStart start;
  bool include_dead = false;
  bool yes = false;  ///< else it is only said what would happen
};
struct GroupDelete {
  std::string name;
  bool discard_dead_letters = false;
  bool keep_dead_letters = false;
  bool yes = false;
};

// --- consuming ---

/// As a member of a group.
struct Consume {
  std::string group;
  std::string exec;    ///< a program per message
  std::string worker;  ///< or one that is kept running; neither: print and ack
  std::uint32_t concurrency = 1;
  bool exit_at_end = false;
};
/// Without a group: from a place in the log, to the end or following it.
struct Read {
  std::string topic;
  GroupStart from;
  bool exit_at_end = false;
};

// --- dead letters ---

/// Which dead letters a command is about, as people say it: `targets` is a group's name and then
/// ids, or only ids "<group>/<partition>-<n>".
struct DeadLetterChoice {
  std::vector<std::string> targets;
  std::string fingerprint;
  std::string code;
  std::optional<DeadLetterState> state;  ///< default: dead, unless ids are given
  bool any_state = false;
  bool all = false;  ///< said out loud by commands that change everything that matches
};
struct DeadLetterList {
  DeadLetterChoice choice;
  std::uint32_t limit = 20;
};
struct DeadLetterShow {
  DeadLetterChoice choice;
};
struct DeadLetterEdit {
  DeadLetterChoice choice;
  std::string jq;
  std::vector<Header> set_headers;
  std::vector<std::string> remove_headers;
  bool allow_reencode = false;
  bool dry_run = false;
  bool yes = false;
  std::string note;
};
struct DeadLetterRedrive {
  DeadLetterChoice choice;
  bool override_limit = false;
  bool yes = false;
};
struct DeadLetterDiscard {
  DeadLetterChoice choice;
  std::string reason;
  bool erase = false;
  bool yes = false;
};

// --- outbox ---

struct OutboxDdl {
  std::string database = "sqlite";
};
struct OutboxRelayRun {
  std::string file;
  std::int64_t lane = 0;
  std::size_t batch_rows = 500;
  Codec compression = Codec::kNone;
  std::string on_refused = "hold-key";
  bool exit_at_end = false;                   ///< when no row is left that can be published now
  std::chrono::milliseconds timeout{60'000};  ///< of --exit-at-end
  bool new_incarnation = false;
};
struct OutboxStatusShow {
  std::string file;
};
/// `pause` and `resume`.
struct OutboxLane {
  std::string file;
  std::int64_t lane = 0;
  bool paused = true;
};

// --- users ---

struct TokenNew {
  std::string user;
  std::vector<Grant> rights;
  std::string file;  ///< where the token goes; empty: it is printed
};

// --- storage ---

struct StorageInfo {
  std::string directory;
};
struct StorageCheck {
  std::string directory;
};
struct StorageDump {
  std::string directory;
  std::uint16_t shard = 0;
  std::string file;  ///< of this segment or checkpoint, below the directory; empty: the journal
  std::uint64_t from = 1;  ///< the first frame to be shown
  std::uint32_t count = 20;
  bool records = false;
};
struct StorageSalvage {
  std::string directory;
  bool accept_loss = false;
};
struct StorageProbe {
  std::string directory;
};

using Command =
    std::variant<TopicCreate, TopicSet, TopicList, TopicDescribe, TopicDelete, Publish,
                 ProducerList, ProducerRemove, GroupCreate, GroupSet, GroupList, GroupDescribe,
                 GroupCheck, GroupPause, GroupBrake, GroupReset, GroupDelete, Consume, Read,
                 DeadLetterList, DeadLetterShow, DeadLetterEdit, DeadLetterRedrive,
                 DeadLetterDiscard, OutboxDdl, OutboxRelayRun, OutboxStatusShow, OutboxLane,
                 TokenNew, StorageInfo, StorageCheck, StorageDump, StorageSalvage, StorageProbe,
                 Bench, BenchCompare, BenchDevice>;

ExitCode run(const TopicCreate& command, BrokerSession& session);
ExitCode run(const TopicSet& command, BrokerSession& session);
ExitCode run(const TopicList& command, BrokerSession& session);
ExitCode run(const TopicDescribe& command, BrokerSession& session);
ExitCode run(const TopicDelete& command, BrokerSession& session);
ExitCode run(const Publish& command, BrokerSession& session);
ExitCode run(const ProducerList& command, BrokerSession& session);
ExitCode run(const ProducerRemove& command, BrokerSession& session);
ExitCode run(const GroupCreate& command, BrokerSession& session);
ExitCode run(const GroupSet& command, BrokerSession& session);
ExitCode run(const GroupList& command, BrokerSession& session);
ExitCode run(const GroupDescribe& command, BrokerSession& session);
ExitCode run(const GroupCheck& command, BrokerSession& session);
ExitCode run(const GroupPause& command, BrokerSession& session);
ExitCode run(const GroupBrake& command, BrokerSession& session);
ExitCode run(const GroupReset& command, BrokerSession& session);
ExitCode run(const GroupDelete& command, BrokerSession& session);
ExitCode run(const Consume& command, BrokerSession& session);
ExitCode run(const Read& command, BrokerSession& session);
ExitCode run(const DeadLetterList& command, BrokerSession& session);
ExitCode run(const DeadLetterShow& command, BrokerSession& session);
ExitCode run(const DeadLetterEdit& command, BrokerSession& session);
ExitCode run(const DeadLetterRedrive& command, BrokerSession& session);
ExitCode run(const DeadLetterDiscard& command, BrokerSession& session);
ExitCode run(const OutboxDdl& command, BrokerSession& session);
ExitCode run(const OutboxRelayRun& command, BrokerSession& session);
ExitCode run(const OutboxStatusShow& command, BrokerSession& session);
ExitCode run(const OutboxLane& command, BrokerSession& session);
ExitCode run(const TokenNew& command, BrokerSession& session);
ExitCode run(const StorageInfo& command, BrokerSession& session);
ExitCode run(const StorageCheck& command, BrokerSession& session);
ExitCode run(const StorageDump& command, BrokerSession& session);
ExitCode run(const StorageSalvage& command, BrokerSession& session);
ExitCode run(const StorageProbe& command, BrokerSession& session);
ExitCode run(const Bench& command, BrokerSession& session);
ExitCode run(const BenchCompare& command, BrokerSession& session);
ExitCode run(const BenchDevice& command, BrokerSession& session);

}  // namespace waybill::cli
