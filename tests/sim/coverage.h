// Coverage: how often a run reached each state that a simulator is built for ("sometimes
// assertions"). A long run in which one of them stayed at 0 fails: it would prove less than it
// seems to.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace waybill {

class Coverage {
 public:
  /// Requires that `what` is in the list of coverage.cc.
  void count(std::string_view what, std::uint64_t times = 1);
  void add(const Coverage& other);
  [[nodiscard]] std::uint64_t operator[](std::string_view what) const;
  /// What was never reached.
  [[nodiscard]] std::vector<std::string_view> missing() const;
  [[nodiscard]] std::string table() const;

 private:
  std::map<std::string_view, std::uint64_t> counts_;  ///< keys are the list's own
};

}  // namespace waybill
