// From what a person typed to the broker's selection of dead letters, and the broker's lists of
// them.
#pragma once

#include <cstddef>
#include <functional>
#include <string>
#include <variant>
#include <vector>

#include "protocol/model/requests.h"
#include "tools/broker_session.h"
#include "tools/commands.h"
#include "tools/problem.h"

namespace waybill::cli {

/// The group and the ids' texts of `targets`: "GROUP [ID...]", or only ids "GROUP/P-N".
struct NamedDeadLetters {
  std::string group;
  std::vector<std::string> ids;
};
Checked<NamedDeadLetters> named_dead_letters(const std::vector<std::string>& targets);

/// The selection, or the exit code after it was said what is wrong. Asks the broker for the group.
Result<DeadLetterSelection, ExitCode> resolve(const DeadLetterChoice& choice,
                                              BrokerSession& session);

/// As resolve, for a command that changes what matches: refuses "everything" unless --all says so.
Result<DeadLetterSelection, ExitCode> resolve_narrowed(const DeadLetterChoice& choice,
                                                       BrokerSession& session);

/// At most `limit` dead letters of the selection, in their order, with the counts over all of it.
Reply<ListDeadLettersReply> list_dead_letters(const DeadLetterSelection& selection,
                                              std::size_t limit, BrokerSession& session);

std::uint64_t total_count(const std::vector<FingerprintCount>& fingerprints);
/// Counts, codes and example details by fingerprint, as a table.
std::string fingerprint_table(const std::vector<FingerprintCount>& fingerprints);

}  // namespace waybill::cli
