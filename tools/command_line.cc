#include "tools/command_line.h"

#include <charconv>

#include "protocol/model/catalog.h"
#include "tools/build_info.h"
#include "tools/command_options.h"

namespace waybill::cli {
namespace {

constexpr const char* kFooter = R"(Data goes to stdout, everything else to stderr.

Exit codes:
  0  done
  1  tried, and it did not work
  2  the command line is wrong; nothing was tried
  3  what was named does not exist
  4  some of it worked; the output says which
  5  no broker answered
  6  what is stored is damaged
  130  Ctrl-C cut a load test short

'waybill COMMAND --help' explains a command.)";

/// Stands in the help of each command, where CLI11 leaves out what is global.
constexpr const char* kGlobal =
    "Every command also takes --broker HOST:PORT, --user NAME, --token-file FILE,\n"
    "-o text|json|jsonl and -q ('waybill --help').\n";

std::string version_text() {
  return "waybill " + std::string(kVersion);
}

void add_global_options(CLI::App& app, GlobalOptions& global) {
  app.add_option("--broker", global.broker,
                 "The broker's address; also WAYBILL_BROKER; default 127.0.0.1:7450")
      ->type_name("HOST:PORT");
  app.add_option("--user", global.user, "Who asks, where the broker has users; also WAYBILL_USER")
      ->type_name("NAME");
  app.add_option("--token-file", global.token_file,
                 "A file that holds the user's token; or the token itself is in WAYBILL_TOKEN")
      ->type_name("FILE");
  add_choice<OutputFormat, OutputFormat>(&app, "-o,--output", global.format,
                                         {{"text", OutputFormat::kText},
                                          {"json", OutputFormat::kJson},
                                          {"jsonl", OutputFormat::kJsonLines}},
                                         "How results are printed");
  app.add_flag("-q,--quiet", global.quiet, "Say nothing but errors on stderr");
  app.set_version_flag("--version", version_text());
}

/// "host:port" or "[::1]:port".
bool is_address(std::string_view text) {
  std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  std::string_view port = text.substr(colon + 1);
  std::uint16_t number = 0;
  auto parsed = std::from_chars(port.data(), port.data() + port.size(), number);
  bool spaces = text.find_first_of(" \t\r\n") != std::string_view::npos;
  return parsed.ec == std::errc() && parsed.ptr == port.data() + port.size() && number > 0 &&
         !spaces;
}

/// The deepest command that was named, and its full name.
std::pair<const CLI::App*, std::string> deepest_command(const CLI::App& app) {
  const CLI::App* deepest = &app;
  std::string name = "waybill";
  while (!deepest->get_subcommands().empty()) {
    deepest = deepest->get_subcommands().front();
    name += " " + deepest->get_name();
  }
  return {deepest, name};
}

/// The names of the commands below `app`, or of its options and the global ones.
std::vector<std::string> known_words(const CLI::App& app, const CLI::App& root, bool options) {
  std::vector<std::string> words;
  if (!options) {
    for (const CLI::App* command : app.get_subcommands(nullptr))
      words.push_back(command->get_name());
    return words;
  }
  for (const CLI::App* one : {&app, &root}) {
    for (const CLI::Option* option : one->get_options()) {
      for (const std::string& name : option->get_lnames()) words.push_back("--" + name);
    }
  }
  return words;
}

std::string usage_text(const CLI::App& app, const std::string& problem) {
  auto [command, name] = deepest_command(app);
  std::string hint;
  std::vector<std::string> extras = app.remaining(true);
  std::string text = problem;
  if (!extras.empty()) {
    std::string word = extras.front().substr(0, extras.front().find('='));
    bool option = word.starts_with('-');
    bool family = !option && !command->get_subcommands(nullptr).empty();
    text = option   ? fmt::format("'{}' has no option '{}'", name, escaped_line(word))
           : family ? fmt::format("'{}' has no command '{}'", name, escaped_line(word))
                    : fmt::format("'{}' takes no further '{}'", name, escaped_line(word));
    auto meant = did_you_mean(word, known_words(*command, app, option));
    if (meant) hint = fmt::format("  did you mean '{}'?\n", *meant);
  }
  return fmt::format("error: {}\n{}  '{} --help' explains it\n", text, hint, name);
}

}  // namespace

std::variant<CommandLine, CommandLineEnd> parse_command_line(
    std::vector<std::string> words, const CommandLineEnvironment& environment) {
  CLI::App app("Messages from the outbox to the ack, and what to do when one fails.", "waybill");
  app.footer(kFooter);
  app.require_subcommand(1);
  CommandLine line;
  if (!environment.broker.empty()) line.global.broker = environment.broker;
  line.global.user = environment.user;
  CommandSink sink{std::nullopt, environment.now};
  add_global_options(app, line.global);
  add_topic_commands(app, sink);
  add_publish_command(app, sink);
  add_producer_commands(app, sink);
  add_group_commands(app, sink);
  add_consume_command(app, sink);
  add_dead_letter_commands(app, sink);
  add_outbox_commands(app, sink);
  add_token_commands(app, sink);
  add_storage_commands(app, sink);
  add_bench_commands(app, sink);
  try {
    std::reverse(words.begin(), words.end());
    app.parse(words);
  } catch (const CLI::CallForHelp&) {
    const CLI::App* command = deepest_command(app).first;
    std::string help = app.help();  // of the command that was named, with its whole name
    // A command may say more of its own; the exit codes stand in every help.
    if (command->get_footer() != kFooter) help += std::string("\n") + kFooter + "\n";
    if (command != &app) help += std::string("\n") + kGlobal;
    return CommandLineEnd{ExitCode::kOk, help};
  } catch (const CLI::CallForAllHelp&) {
    return CommandLineEnd{ExitCode::kOk, app.help("", CLI::AppFormatMode::All)};
  } catch (const CLI::CallForVersion&) {
    return CommandLineEnd{ExitCode::kOk, version_text() + "\n"};
  } catch (const CLI::ParseError& error) {
    return CommandLineEnd{ExitCode::kUsage, usage_text(app, error.what())};
  }
  if (!is_address(line.global.broker)) {
    return CommandLineEnd{ExitCode::kUsage,
                          fmt::format("error: '{}' is no address of a broker\n"
                                      "  write --broker HOST:PORT, for example 127.0.0.1:7450\n",
                                      escaped_line(line.global.broker))};
  }
  line.command = std::move(*sink.chosen);
  return line;
}

}  // namespace waybill::cli
