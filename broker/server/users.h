// Users: who may do what at this broker, read once at the start from a file that people write:
//
//   # name  SHA-256 of the token, in hex                                      rights
//   orders  5994471abb01112afcc18159f6cc74b4f511b99806da59b3caf5a9c173cacfc5  publish consume
//   anna    9af15b336e6a9619928537df30b2e6a2376569fcf9d7e773eccede65606529a0  view fix:billing.*
//
// `waybill token new NAME` makes a token and its line. A token is random, 256 bits: its hash cannot
// be guessed, so it needs no salt and no slow hashing, and whoever reads the file learns no token.
// Whoever can change the file can do everything. Changes take effect with a restart.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "protocol/model/grant.h"
#include "protocol/model/reply.h"

namespace waybill {

struct User {
  std::string name;
  std::vector<Grant> grants;

  // Every user may what needs no right.
  /// Somewhere at least.
  [[nodiscard]] bool may(Right right) const;
  /// For the topic or group of that name.
  [[nodiscard]] bool may(Right right, std::string_view topic_or_group) const;
  [[nodiscard]] bool may_everywhere(Right right) const;
};

/// Immutable; all threads read it.
class Users {
 public:
  /// Refuses, with the number of the line, whatever is not exactly as above: an unknown right, a
  /// name twice, a hash that is none, two users with one token; and a text without any user.
  static Reply<Users> parse(std::string_view text);

  /// The user, if the token is theirs; null otherwise. Takes as long whichever of both is wrong.
  [[nodiscard]] const User* find(std::string_view name, std::string_view token) const;
  [[nodiscard]] std::size_t size() const { return users_.size(); }

 private:
  using Hash = std::array<unsigned char, 32>;
  struct Entry {
    User user;
    Hash token_hash{};
  };
  static Hash hash_of(std::string_view token);
  Reply<void> add(std::string_view line);

  std::map<std::string, Entry, std::less<>> users_;
};

struct UsersFile {
  Users users;
  /// Others than owner and group may read it: no token is lost by that, but names and rights are
  /// told.
  bool readable_by_others = false;
};
/// Reads and parses at most 1 MiB. Refuses a file that others than owner and group may write.
/// Errors begin with the path, and with the line if one is wrong.
Reply<UsersFile> read_users_file(const std::filesystem::path& path);

}  // namespace waybill
