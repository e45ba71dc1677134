// The paths a Disk accepts: relative to its root, '/' between parts, nothing that leads outside.
// The broker makes all its names itself; this check is the second lock on that door.
#pragma once

#include <string>
#include <string_view>

#include "protocol/base/result.h"

namespace waybill {

/// Refuses absolute paths, "..", empty parts and NUL bytes. "" and "." name the root itself and are
/// accepted only with `root_allowed` (list and sync_directory).
inline Result<void> check_disk_path(std::string_view path, bool root_allowed = false) {
  if (root_allowed && (path.empty() || path == ".")) return {};
  if (path.find('\0') != std::string_view::npos) return {Errc::kInvalidName, "disk path"};
  while (true) {
    std::size_t slash = path.find('/');
    std::string_view part = path.substr(0, slash);
    if (part.empty() || part == "." || part == "..") return {Errc::kInvalidName, "disk path"};
    if (slash == std::string_view::npos) return {};
    path.remove_prefix(slash + 1);
  }
}

/// "" for an entry of the root.
inline std::string_view parent_of(std::string_view path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? std::string_view() : path.substr(0, slash);
}

inline std::string_view name_of(std::string_view path) {
  std::size_t slash = path.rfind('/');
  return slash == std::string_view::npos ? path : path.substr(slash + 1);
}

}  // namespace waybill
