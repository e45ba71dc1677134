// An application with an outbox and a consumer, on real data: what the package manager's log says
// happened to each package of this machine. tools/quickstart tells its story.
//
//   package_history import  APP.db LOG...       events and their outbox rows, one transaction each
//                                               250; stdin: "package<TAB>version" of what the logs
//                                               never mention
//   package_history consume MODEL.db GROUP v1|v2  folds the events into "which package is installed
//                                               in which version"; v1 does not understand all of
//                                               them; exit 1 if a package's came out of order
//   package_history compare MODEL.db            stdin: "package<TAB>version<TAB>state" as
//   dpkg-query
//                                               says; exit 0 if the model says the same
//   package_history account APP.db TOPIC GROUP  exit 0 if every event is in the topic once and done
//
// The broker is the one in WAYBILL_BROKER, or 127.0.0.1:7450.
#include <sqlite3.h>

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <iostream>
#include <map>
#include <memory>
#include <set>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "client/blocking_client.h"
#include "client/outbox/ddl.h"
#include "client/outbox/outbox.h"

namespace {

using namespace waybill;

constexpr int kRowsPerTransaction = 250;

[[noreturn]] void fail(const std::string& what) {
  throw std::runtime_error(what);
}

/// A database and its statements; every error ends the program with SQLite's own words.
class Database {
 public:
  explicit Database(const std::string& path) {
    if (sqlite3_open(path.c_str(), &db_) != SQLITE_OK) fail(path + ": " + sqlite3_errmsg(db_));
    run("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL");
  }
  ~Database() { sqlite3_close_v2(db_); }
  Database(const Database&) = delete;
  Database& operator=(const Database&) = delete;

  sqlite3* handle() { return db_; }

  void run(const std::string& sql) {
    if (sqlite3_exec(db_, sql.c_str(), nullptr, nullptr, nullptr) != SQLITE_OK) {
      fail(std::string("database: ") + sqlite3_errmsg(db_));
    }
  }

  /// Runs one statement with text parameters and returns its rows as text (NULL as "").
  std::vector<std::vector<std::string>> rows(const char* sql,
                                             const std::vector<std::string>& parameters = {}) {
    sqlite3_stmt* raw = nullptr;
    if (sqlite3_prepare_v2(db_, sql, -1, &raw, nullptr) != SQLITE_OK) fail(sqlite3_errmsg(db_));
    std::unique_ptr<sqlite3_stmt, int (*)(sqlite3_stmt*)> statement(raw, sqlite3_finalize);
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      sqlite3_bind_text(raw, static_cast<int>(i + 1), parameters[i].c_str(), -1, SQLITE_TRANSIENT);
    }
    std::vector<std::vector<std::string>> rows;
    int step = SQLITE_ROW;
    while ((step = sqlite3_step(raw)) == SQLITE_ROW) {
      std::vector<std::string>& row = rows.emplace_back();
      for (int i = 0; i < sqlite3_column_count(raw); ++i) {
        const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(raw, i));
        row.emplace_back(text == nullptr ? "" : text);
      }
    }
    if (step != SQLITE_DONE) fail(std::string("database: ") + sqlite3_errmsg(db_));
    return rows;
  }

  std::string value(const char* sql) { return rows(sql).at(0).at(0); }

 private:
  sqlite3* db_ = nullptr;
};

/// A client of the broker that this run was told of.
ClientOptions client_options() {
  ClientOptions options;
  options.client_name = "package-history";
  if (const char* broker = std::getenv("WAYBILL_BROKER")) options.endpoints = {broker};
  return options;
}

template <class T>
T value_of(Reply<T> reply, const char* what) {
  if (!reply) fail(std::string(what) + ": " + to_string(reply.error()));
  return std::move(*reply);
}

// --- import: the application writes its data and its messages in one transaction ---

class Importer {
 public:
  explicit Importer(Database& db) : db_(db) {
    db_.run(outbox_ddl(OutboxDatabase::kSqlite));
    db_.run("CREATE TABLE IF NOT EXISTS events(seq INTEGER PRIMARY KEY, event TEXT NOT NULL)");
  }

  void add(const std::string& at, const std::string& action, const std::string& state,
           const std::string& package, const std::string& old, const std::string& version) {
    if (in_transaction_ == 0) db_.run("BEGIN IMMEDIATE");
    std::string event =
        db_.rows(
               "SELECT json_object('seq', CAST(?1 AS INTEGER), 'at', ?2, 'action', ?3, "
               "'state', nullif(?4, ''), 'package', ?5, 'old', nullif(?6, ''), 'version', ?7)",
               {std::to_string(++count_), at, action, state, package, old, version})
            .at(0)
            .at(0);
    db_.rows("INSERT INTO events(seq, event) VALUES (CAST(?1 AS INTEGER), ?2)",
             {std::to_string(count_), event});
    OutboxMessage message;
    message.topic = "packages";
    message.key = as_bytes(package);
    message.payload = as_bytes(event);
    (void)value_of(enqueue(db_.handle(), message), "enqueue");
    if (++in_transaction_ == kRowsPerTransaction) commit();
  }

  void commit() {
    if (in_transaction_ > 0) db_.run("COMMIT");
    in_transaction_ = 0;
  }

  [[nodiscard]] int count() const { return count_; }

 private:
  Database& db_;
  int count_ = 0;
  int in_transaction_ = 0;
};

/// One line of dpkg.log, if it is a change of a package's state.
void import_line(Importer& importer, const std::string& line) {
  std::istringstream words(line);
  std::string date;
  std::string time;
  std::string action;
  std::string first;
  std::string second;
  std::string third;
  words >> date >> time >> action >> first >> second >> third;
  std::string at = date + " " + time;
  if (action == "status" && !third.empty()) {
    importer.add(at, action, first, second, "", third);
  } else if ((action == "install" || action == "upgrade" || action == "remove" ||
              action == "purge") &&
             !third.empty()) {
    importer.add(at, action, "", first, second, third);
  }
}

int import(const std::string& db_path, const std::vector<std::string>& logs) {
  Database db(db_path);
  Importer importer(db);
  for (std::string line; std::getline(std::cin, line);) {
    std::size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    importer.add("before the log", "snapshot", "installed", line.substr(0, tab), "",
                 line.substr(tab + 1));
  }
  for (const std::string& path : logs) {
    std::ifstream log(path);
    if (!log) fail(path + " cannot be read");
    for (std::string line; std::getline(log, line);) import_line(importer, line);
  }
  importer.commit();
  std::printf("%d events, each with its outbox row in the same transaction\n", importer.count());
  return 0;
}

// --- consume: a read model, folded from the events ---

/// What this version of the handler does not understand, as the failure it reports.
std::optional<Failure> refuse(bool knows_all_states, const std::string& package,
                              const std::string& state, const std::string& old,
                              const std::string& version) {
  if (old == "<none>" || version == "<none>") {
    return Failure{FailureClass::kInvalid, "missing_version",
                   "a version of '" + package + "' is <none>"};
  }
  static const std::set<std::string> common = {"", "installed", "unpacked", "half-configured",
                                               "half-installed"};
  if (!knows_all_states && !common.contains(state)) {
    return Failure{FailureClass::kFailed, "unknown_state",
                   "'" + package + "' is in state " + state};
  }
  return std::nullopt;
}

// Messages may come again, after newer ones too: the newest line decides, for the state and for the
// version apart.
constexpr const char* kFoldState =
    "INSERT INTO packages(package, state, state_seq) VALUES (?1, ?2, CAST(?3 AS INTEGER)) "
    "ON CONFLICT(package) DO UPDATE SET state = excluded.state, state_seq = excluded.state_seq "
    "WHERE excluded.state_seq > packages.state_seq";
constexpr const char* kFoldVersion =
    "INSERT INTO packages(package, version, version_seq) VALUES (?1, ?2, CAST(?3 AS INTEGER)) "
    "ON CONFLICT(package) DO UPDATE SET version = excluded.version, "
    "version_seq = excluded.version_seq WHERE excluded.version_seq > packages.version_seq";

// The group orders by key, and holds what follows a dead letter: nothing older than what was folded
// of a package may come any more.
constexpr const char* kFoldSeen =
    "INSERT INTO seen(package, seq) VALUES (?1, CAST(?2 AS INTEGER)) ON CONFLICT(package) "
    "DO UPDATE SET seq = excluded.seq, late = late + (excluded.seq < seen.seq)";

std::optional<Failure> fold(Database& model, bool knows_all_states, const std::string& event) {
  std::vector<std::string> fields =
      model
          .rows(
              "SELECT json_extract(?1, '$.package'), json_extract(?1, '$.state'), "
              "json_extract(?1, '$.old'), json_extract(?1, '$.version'), "
              "json_extract(?1, '$.seq'), json_extract(?1, '$.action')",
              {event})
          .at(0);
  const std::string& package = fields[0];
  const std::string& state = fields[1];
  const std::string& version = fields[3];
  const std::string& action = fields[5];
  if (auto refusal = refuse(knows_all_states, package, state, fields[2], version)) return refusal;
  model.rows(kFoldSeen, {package, fields[4]});
  if (!state.empty()) model.rows(kFoldState, {package, state, fields[4]});
  if (action == "install" || action == "upgrade" || action == "snapshot") {
    model.rows(kFoldVersion, {package, version, fields[4]});
  }
  return std::nullopt;
}

/// Nothing of the group is ready, leased or waiting to be tried again. What is held behind a dead
/// letter waits for a person.
bool finished(BlockingClient& client, const std::string& group) {
  auto status = value_of(client.request(DescribeGroupRequest{group}), "describe group");
  std::uint64_t open = 0;
  for (const GroupPartitionStatus& partition : status.partitions) {
    const Accounting& a = partition.accounting;
    open += a.ready + a.leased + a.delayed;
  }
  return open == 0;
}

int consume(const std::string& db_path, const std::string& group, bool knows_all_states) {
  Database model(db_path);
  model.run("PRAGMA synchronous=NORMAL");
  model.run(
      "CREATE TABLE IF NOT EXISTS packages(package TEXT PRIMARY KEY, "
      "state TEXT NOT NULL DEFAULT '?', state_seq INTEGER NOT NULL DEFAULT 0, "
      "version TEXT NOT NULL DEFAULT '?', version_seq INTEGER NOT NULL DEFAULT 0)");
  model.run(
      "CREATE TABLE IF NOT EXISTS seen(package TEXT PRIMARY KEY, seq INTEGER NOT NULL, "
      "late INTEGER NOT NULL DEFAULT 0)");
  BlockingClient client(client_options());
  int done = 0;
  std::map<std::string, int> failed;
  ConsumeOptions options;
  options.subscribe.credit_messages = 256;
  options.idle_timeout = std::chrono::milliseconds(100);
  do {
    Reply<void> ended = client.consume(
        group,
        [&](Delivery& delivery) {
          const Message& message = delivery.message();
          std::string event(message.value ? as_text(*message.value) : "");
          if (std::optional<Failure> failure = fold(model, knows_all_states, event)) {
            ++failed[failure->code];
            delivery.retry(std::move(*failure));
          } else {
            ++done;
            delivery.ack();
          }
          return Continue::kYes;
        },
        options);
    if (!ended) fail("consume: " + to_string(ended.error()));
  } while (!finished(client, group));
  std::string late = model.value("SELECT coalesce(sum(late), 0) FROM seen");
  std::printf("%d events folded, %s of a package out of order", done, late.c_str());
  for (const auto& [code, count] : failed) {
    std::printf(", %d attempts failed: %s", count, code.c_str());
  }
  std::printf("\n");
  if (Reply<void> closed = client.close(); !closed) fail("close: " + to_string(closed.error()));
  return late == "0" ? 0 : 1;
}

// --- compare and account: is it true? ---

int compare(const std::string& db_path) {
  Database model(db_path);
  std::set<std::string> modelled;
  for (const auto& row : model.rows("SELECT package || char(9) || version || char(9) || state "
                                    "FROM packages WHERE state <> 'not-installed'")) {
    modelled.insert(row.at(0));
  }
  std::set<std::string> real;
  for (std::string line; std::getline(std::cin, line);) real.insert(line);
  int differences = 0;
  for (const std::string& line : real) {
    if (!modelled.contains(line) && ++differences <= 10)
      std::printf("  only dpkg: %s\n", line.c_str());
  }
  for (const std::string& line : modelled) {
    if (!real.contains(line) && ++differences <= 10)
      std::printf("  only model: %s\n", line.c_str());
  }
  std::printf("%zu packages in the model, %zu by dpkg-query, %d differences\n", modelled.size(),
              real.size(), differences);
  return differences == 0 && !real.empty() ? 0 : 1;
}

int account(const std::string& db_path, const std::string& topic, const std::string& group) {
  Database app(db_path);
  auto events = static_cast<std::uint64_t>(std::stoll(app.value("SELECT count(*) FROM events")));
  std::string waiting = app.value("SELECT count(*) FROM waybill_outbox");
  BlockingClient client(client_options());
  std::uint64_t published = 0;
  for (const PartitionStatus& partition :
       value_of(client.request(DescribeTopicRequest{topic}), "describe topic").partitions) {
    published += static_cast<std::uint64_t>(partition.end - partition.start);
  }
  std::uint64_t done = 0;
  std::uint64_t sum = 0;
  for (const GroupPartitionStatus& partition :
       value_of(client.request(DescribeGroupRequest{group}), "describe group").partitions) {
    done += partition.accounting.done;
    sum += partition.accounting.sum();
  }
  std::printf(
      "%llu events written, %s still in the outbox, %llu messages in the topic, "
      "%llu accounted for by the group, %llu of them done\n",
      static_cast<unsigned long long>(events), waiting.c_str(),
      static_cast<unsigned long long>(published), static_cast<unsigned long long>(sum),
      static_cast<unsigned long long>(done));
  return events > 0 && waiting == "0" && published == events && sum == events && done == events ? 0
                                                                                                : 1;
}

int usage() {
  std::fprintf(stderr,
               "usage: package_history import APP.db LOG... | consume MODEL.db GROUP v1|v2 |\n"
               "       compare MODEL.db | account APP.db TOPIC GROUP\n");
  return 2;
}

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> words(argv + 1, argv + argc);
  try {
    if (words.size() >= 2 && words[0] == "import") {
      return import(words[1], {words.begin() + 2, words.end()});
    }
    if (words.size() == 4 && words[0] == "consume" && (words[3] == "v1" || words[3] == "v2")) {
      return consume(words[1], words[2], words[3] == "v2");
    }
    if (words.size() == 2 && words[0] == "compare") return compare(words[1]);
    if (words.size() == 4 && words[0] == "account") return account(words[1], words[2], words[3]);
    return usage();
  } catch (const std::exception& error) {
    std::fprintf(stderr, "package_history: %s\n", error.what());
    return 1;
  }
}
