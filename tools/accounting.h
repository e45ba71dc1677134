// The states of D19 that every message of a group is in exactly one of, in the order in which they
// are shown: as the columns of a table, and by these names as JSON.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/model/requests.h"
#include "tools/text_table.h"

namespace waybill::cli {

struct AccountingState {
  std::string_view name;
  std::uint64_t Accounting::* count;
  bool always_shown;  ///< in a table also where it is 0 everywhere
};

inline constexpr std::array kAccountingStates{
    AccountingState{"done", &Accounting::done, true},
    AccountingState{"ready", &Accounting::ready, true},
    AccountingState{"scheduled", &Accounting::scheduled, false},
    AccountingState{"leased", &Accounting::leased, true},
    AccountingState{"delayed", &Accounting::delayed, false},
    AccountingState{"held", &Accounting::held, false},
    AccountingState{"dead", &Accounting::dead, true},
    AccountingState{"redriving", &Accounting::redriving, false},
    AccountingState{"redriven", &Accounting::redriven, false},
    AccountingState{"discarded", &Accounting::discarded, false},
    AccountingState{"expired", &Accounting::expired, false},
    AccountingState{"skipped", &Accounting::skipped, false},
    AccountingState{"compacted", &Accounting::compacted, false},
    AccountingState{"removed", &Accounting::removed, false},
};

/// One partition's accounting, and what else its row says.
struct AccountingRow {
  PartitionIndex partition;
  Accounting accounting;
  std::string note;
};

/// A row for each partition and one for all, if they are several. States in which no message is are
/// left out, so that the table fits a terminal; `note_heading` empty: no notes.
std::string accounting_table(const std::vector<AccountingRow>& rows,
                             const std::string& note_heading);

/// Whether the states add up to what is in the log.
inline bool adds_up(const Accounting& accounting) {
  return static_cast<std::int64_t>(accounting.sum()) == accounting.end - accounting.start;
}

/// Messages that still have something before them: all but the ended and the dead.
inline std::uint64_t open_messages(const Accounting& accounting) {
  return accounting.ready + accounting.scheduled + accounting.leased + accounting.delayed +
         accounting.held;
}

}  // namespace waybill::cli
