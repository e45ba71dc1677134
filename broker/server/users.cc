#include "broker/server/users.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/sha.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <vector>

#include "protocol/model/catalog.h"
#include "storage/io/posix_disk.h"

namespace waybill {
namespace {

/// About eight thousand users; more text is a wrong file.
constexpr std::size_t kMaxUsersFile = 1024 * 1024;
constexpr std::string_view kBlank = " \t\r";

RequestError invalid(std::string text) {
  return {Errc::kInvalidRequest, std::move(text)};
}

std::string in_quotes(std::string_view text) {
  return "\"" + std::string(text) + "\"";
}

std::vector<std::string_view> words_of(std::string_view line) {
  std::vector<std::string_view> words;
  while (true) {
    std::size_t begin = line.find_first_not_of(kBlank);
    if (begin == std::string_view::npos) return words;
    line.remove_prefix(begin);
    std::size_t end = std::min(line.find_first_of(kBlank), line.size());
    words.push_back(line.substr(0, end));
    line.remove_prefix(end);
  }
}

std::optional<unsigned char> hex_digit(char c) {
  if (c >= '0' && c <= '9') return static_cast<unsigned char>(c - '0');
  if (c >= 'a' && c <= 'f') return static_cast<unsigned char>(c - 'a' + 10);
  if (c >= 'A' && c <= 'F') return static_cast<unsigned char>(c - 'A' + 10);
  return std::nullopt;
}

template <class Hash>
std::optional<Hash> parse_hash(std::string_view text) {
  Hash hash{};
  if (text.size() != 2 * hash.size()) return std::nullopt;
  for (std::size_t i = 0; i < hash.size(); ++i) {
    std::optional<unsigned char> high = hex_digit(text[2 * i]);
    std::optional<unsigned char> low = hex_digit(text[2 * i + 1]);
    if (!high || !low) return std::nullopt;
    hash[i] = static_cast<unsigned char>(*high << 4 | *low);
  }
  return hash;
}

RequestError cannot_read(const std::filesystem::path& path, int error) {
  return invalid(path.string() + ": cannot be read (" + std::strerror(error) +
                 "); --users names a file of lines \"NAME SHA256-OF-TOKEN RIGHTS\"");
}

}  // namespace

bool User::may(Right right) const {
  return right == Right::kNone || std::ranges::find(grants, right, &Grant::right) != grants.end();
}

bool User::may(Right right, std::string_view topic_or_group) const {
  return right == Right::kNone || std::ranges::any_of(grants, [&](const Grant& grant) {
           return grant.right == right && grant.covers(topic_or_group);
         });
}

bool User::may_everywhere(Right right) const {
  return right == Right::kNone || std::ranges::find(grants, Grant{right}) != grants.end();
}

Users::Hash Users::hash_of(std::string_view token) {
  Hash hash{};
  SHA256(reinterpret_cast<const unsigned char*>(token.data()), token.size(), hash.data());
  return hash;
}

const User* Users::find(std::string_view name, std::string_view token) const {
  const Hash hash = hash_of(token);
  auto found = users_.find(name);
  const Hash nobody{};
  const Hash& expected = found == users_.end() ? nobody : found->second.token_hash;
  const bool same = CRYPTO_memcmp(hash.data(), expected.data(), hash.size()) == 0;
  return same && found != users_.end() ? &found->second.user : nullptr;
}

Reply<Users> Users::parse(std::string_view text) {
  Users users;
  for (std::size_t number = 1; !text.empty(); ++number) {
    std::size_t end = std::min(text.find('\n'), text.size());
    Reply<void> added = users.add(text.substr(0, end));
    if (!added) {
      return invalid("line " + std::to_string(number) + ": " + added.error().explanation);
    }
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (users.size() == 0) return invalid("there is no user in it, so nobody could connect");
  return users;
}

Reply<void> Users::add(std::string_view line) {
  std::vector<std::string_view> words = words_of(line);
  if (words.empty() || words.front().starts_with('#')) return {};
  Reply<void> named = validate_name("user", words.front());
  if (!named) return named;
  Entry entry;
  entry.user.name = words.front();
  std::optional<Hash> hash =
      words.size() > 1 ? parse_hash<Hash>(words[1]) : std::optional<Hash>(std::nullopt);
  if (!hash) {
    return invalid("after the name of user " + in_quotes(words.front()) +
                   " comes the SHA-256 of the token, 64 hex digits; 'waybill token new NAME' makes "
                   "both");
  }
  entry.token_hash = *hash;
  for (std::size_t i = 2; i < words.size(); ++i) {
    Reply<Grant> grant = parse_grant(words[i]);
    if (!grant) return grant.error();
    entry.user.grants.push_back(std::move(*grant));
  }
  for (const auto& [name, other] : users_) {
    if (other.token_hash != entry.token_hash || name == entry.user.name) continue;
    return invalid("user " + in_quotes(entry.user.name) + " has the token of " + in_quotes(name) +
                   "; each needs one of their own");
  }
  std::string name = entry.user.name;
  bool added = users_.emplace(name, std::move(entry)).second;
  if (!added) return invalid("user " + in_quotes(name) + " is there twice");
  return {};
}

Reply<UsersFile> read_users_file(const std::filesystem::path& path) {
  // Not blocking: a pipe that nobody writes to must not hold up the start.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat facts{};
  if (!file.valid() || ::fstat(file.get(), &facts) != 0) return cannot_read(path, errno);
  if (!S_ISREG(facts.st_mode)) return invalid(path.string() + ": is no regular file");
  if ((facts.st_mode & S_IWOTH) != 0) {
    return invalid(path.string() +
                   ": everybody on this machine may write it, and so give themselves every right; "
                   "chmod 640");
  }
  std::string text(kMaxUsersFile + 1, '\0');
  std::size_t size = 0;
  while (size < text.size()) {
    ssize_t got = ::read(file.get(), text.data() + size, text.size() - size);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return cannot_read(path, errno);
    if (got == 0) break;
    size += static_cast<std::size_t>(got);
  }
  if (size > kMaxUsersFile) return invalid(path.string() + ": longer than 1 MiB; is it this file?");
  text.resize(size);
  Reply<Users> users = Users::parse(text);
  if (!users) return invalid(path.string() + ", " + users.error().explanation);
  return UsersFile{std::move(*users), (facts.st_mode & S_IROTH) != 0};
}

}  // namespace waybill
