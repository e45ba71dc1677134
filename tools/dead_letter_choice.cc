#include "tools/dead_letter_choice.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>

#include "protocol/base/limits.h"
#include "tools/dead_letter_name.h"
#include "tools/escape.h"
#include "tools/text_table.h"

namespace waybill::cli {
namespace {

constexpr std::uint32_t kPage = 500;
constexpr std::size_t kExampleColumns = 100;

}  // namespace

Checked<NamedDeadLetters> named_dead_letters(const std::vector<std::string>& targets) {
  if (targets.empty()) return Problem{"which group? name it, or ids as GROUP/PARTITION-NUMBER"};
  NamedDeadLetters named;
  std::string_view group = group_of_dead_letter_name(targets.front());
  if (group.empty()) {
    named.group = targets.front();
    named.ids.assign(targets.begin() + 1, targets.end());
  } else {
    named.group = group;
    named.ids = targets;
  }
  return named;
}

Result<DeadLetterSelection, ExitCode> resolve(const DeadLetterChoice& choice,
                                              BrokerSession& session) {
  Checked<NamedDeadLetters> named = named_dead_letters(choice.targets);
  if (!named) return session.usage(named.error().text);
  DeadLetterSelection selection;
  selection.group = named->group;
  if (!choice.fingerprint.empty()) {
    Checked<std::uint64_t> fingerprint = parse_fingerprint(choice.fingerprint);
    if (!fingerprint) return session.usage(fingerprint.error().text);
    selection.fingerprint = *fingerprint;
  }
  if (!choice.code.empty()) selection.code = choice.code;
  selection.state = choice.state;
  if (!choice.state && !choice.any_state && named->ids.empty()) {
    selection.state = DeadLetterState::kDead;
  }
  Reply<DescribeGroupReply> group = session.request(DescribeGroupRequest{named->group});
  if (!group) return session.report(group.error(), named->group);
  for (const std::string& text : named->ids) {
    Checked<DeadLetterId> id = parse_dead_letter_name(text, named->group, group->group.id);
    if (!id) return session.usage(id.error().text);
    if (std::ranges::find(selection.ids, *id) == selection.ids.end()) selection.ids.push_back(*id);
  }
  return selection;
}

Result<DeadLetterSelection, ExitCode> resolve_narrowed(const DeadLetterChoice& choice,
                                                       BrokerSession& session) {
  Result<DeadLetterSelection, ExitCode> selection = resolve(choice, session);
  if (!selection) return selection;
  bool narrowed = !selection->ids.empty() || selection->fingerprint || selection->code;
  if (!narrowed && !choice.all) {
    return session.usage(
        "which dead letters?",
        fmt::format("name ids, or --fingerprint, or --code, or --all; 'waybill dlq list {}' shows "
                    "them",
                    selection->group));
  }
  if (narrowed && choice.all) return session.usage("--all goes without ids and other filters");
  return selection;
}

Reply<ListDeadLettersReply> list_dead_letters(const DeadLetterSelection& selection,
                                              std::size_t limit, BrokerSession& session) {
  ListDeadLettersReply all;
  std::optional<DeadLetterId> after;
  while (true) {
    ListDeadLettersRequest request;
    request.selection = selection;
    request.after = after;
    std::size_t missing = limit - all.dead_letters.size();
    request.limit = static_cast<std::uint32_t>(std::min<std::size_t>(missing, kPage));
    Reply<ListDeadLettersReply> page = session.request(std::move(request));
    if (!page) return page.error();
    all.more = page->more;
    if (!after) all.fingerprints = std::move(page->fingerprints);
    for (DeadLetterSummary& one : page->dead_letters) all.dead_letters.push_back(std::move(one));
    bool done = !page->more || page->dead_letters.empty() || all.dead_letters.size() >= limit;
    if (done) return all;
    after = all.dead_letters.back().id;
  }
}

std::uint64_t total_count(const std::vector<FingerprintCount>& fingerprints) {
  std::uint64_t total = 0;
  for (const FingerprintCount& one : fingerprints) total += one.count;
  return total;
}

std::string fingerprint_table(const std::vector<FingerprintCount>& fingerprints) {
  TextTable table({">COUNT", "FINGERPRINT", "CLASS", "CODE", "EXAMPLE"});
  for (const FingerprintCount& one : fingerprints) {
    table.add({fmt::to_string(one.count), fingerprint_text(one.fingerprint),
               std::string(name(one.example.failure_class)), escaped_line(one.example.code),
               shortened(one.example.detail, kExampleColumns)});
  }
  return table.render();
}

}  // namespace waybill::cli
