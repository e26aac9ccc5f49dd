// Each row of the table: it parses, its default is what a fresh Options has, a
// bad value is refused by name, and the documents know it.
#include <cctype>
#include <fstream>
#include <set>
#include <sstream>

#include "parsing.h"

namespace handlefs::test {
namespace {

std::string Dashed(std::string_view name) {
  std::string out(name);
  for (char& c : out) c = c == '_' ? '-' : c;
  return out;
}

std::string FileText(const std::string& path) {
  std::ifstream file(path);
  REQUIRE(file);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// A placeholder that takes texts, or words besides them.
bool TakesAnything(std::string_view metavar) {
  return Mentions(std::string(metavar), "PATH") || metavar == "TEXT" ||
         metavar == "NAME|FILE";
}

// What the row must take.
std::vector<std::string> GoodValues(const OptionRow& row) {
  std::vector<std::string> values = Words(row.metavar);
  if (!row.by_default.empty() && !row.by_default.starts_with('(')) {
    values.emplace_back(row.by_default);
  }
  if (row.metavar == "BYTES") values.insert(values.end(), {"4096", "64k"});
  if (row.metavar == "SECONDS") values.insert(values.end(), {"0", "2.5"});
  if (row.metavar == "NAME") values.emplace_back("auto");
  if (row.metavar == "all|OPTION") values.emplace_back("cache");
  if (row.metavar == "PATH" || row.metavar == "TEXT") {
    values.emplace_back("/some/where");
  }
  return values;
}

TEST_CASE("names are unique and plain", "[options][table]") {
  std::set<std::string_view> names;
  std::set<char> letters;
  for (const OptionRow& row : OptionTable()) {
    INFO(row.name);
    CHECK(names.insert(row.name).second);
    if (row.letter != 0) CHECK(letters.insert(row.letter).second);
    for (char c : row.name) CHECK((std::islower(c) != 0 || c == '_'));
    CHECK(FindOption(row.name) == &row);
    CHECK((row.value == OptionValue::kNone) == row.metavar.empty());
  }
  for (const MountWord& word : MountWords()) {
    CHECK(names.insert(word.name).second);
  }
}

TEST_CASE("every row says what there is to say", "[options][table]") {
  for (const OptionRow& row : OptionTable()) {
    INFO(row.name);
    CHECK_FALSE(row.help.empty());
    CHECK_FALSE(row.help.ends_with('.'));
    CHECK(row.more.ends_with('.'));
    CHECK_FALSE(row.cost.ends_with('.'));
    CHECK(row.by_default.empty() == (row.value == OptionValue::kNone));
    std::string text = HelpOf(row);
    CHECK(Mentions(text, std::string(row.name)));
    CHECK(Mentions(text, std::string(row.cost)) ==
          !Mentions(std::string(row.cost), "  "));
    CHECK(Mentions(HelpAll(), text));
    std::istringstream lines(text);
    for (std::string line; std::getline(lines, line);) {
      CHECK(line.size() < 80);
    }
  }
}

TEST_CASE("defaults of the table are those of the code", "[options][table]") {
  for (const OptionRow& row : OptionTable()) {
    if (row.scope == OptionScope::kCommandLine ||
        row.by_default.starts_with('('))
      continue;
    INFO(row.name);
    Options options;
    std::string word =
        std::string(row.name) + "=" + std::string(row.by_default);
    REQUIRE(ApplyOption(options, word, "here").ok());
    options.given.clear();
    CHECK(options == Options());
  }
}

TEST_CASE("each value in the table is taken in every form",
          "[options][table]") {
  for (const OptionRow& row : OptionTable()) {
    INFO(row.name);
    std::string name(row.name);
    if (row.value != OptionValue::kNeeded) {
      CHECK(RefusalOf("--" + name).empty());
      CHECK(RefusalOf("-o" + Dashed(name)).empty());
    }
    // Only a file that is there can be taken.
    if (name == "config") continue;
    for (const std::string& value : GoodValues(row)) {
      INFO(value);
      CHECK(RefusalOf("--" + name + "=" + value).empty());
      CHECK(RefusalOf("-o" + Dashed(name) + "=" + value).empty());
    }
  }
}

TEST_CASE("a bad value is refused by name", "[options][table]") {
  for (const OptionRow& row : OptionTable()) {
    if (TakesAnything(row.metavar)) continue;
    INFO(row.name);
    std::string name(row.name);
    std::string message = RefusalOf("--" + name + "=bogus");
    CHECK(Mentions(message, name));
    if (row.value == OptionValue::kNone) continue;
    CHECK(Mentions(message, "'bogus'"));
    std::vector<std::string> words = Words(row.metavar);
    if (row.metavar == "all|OPTION") continue;
    for (const std::string& word : words) CHECK(Mentions(message, word));
    for (const std::string& word : words) {
      CHECK_FALSE(RefusalOf("--" + name + "=" + word + " ").empty());
    }
  }
}

TEST_CASE("a value that is missing is asked for", "[options][table]") {
  for (const OptionRow& row : OptionTable()) {
    INFO(row.name);
    std::string name(row.name);
    // An empty one is no value.
    CHECK(Mentions(RefusalOf("-o" + name + "="), name));
    if (row.value != OptionValue::kNeeded) continue;
    for (const std::vector<std::string>& args :
         std::vector<std::vector<std::string>>{{"-o", name, "/a", "/b"},
                                               {"/a", "/b", "--" + name}}) {
      std::string message = Refusal(args);
      CHECK(Mentions(message, name));
      CHECK(Mentions(message, std::string(row.metavar)));
    }
  }
}

TEST_CASE("mount words are taken, and so are their opposites",
          "[options][table]") {
  for (const MountWord& word : MountWords()) {
    INFO(word.name);
    CHECK(RefusalOf("-o" + std::string(word.name)).empty());
    if (word.opposite.empty()) continue;
    CHECK(RefusalOf("-o" + std::string(word.opposite)).empty());
    CHECK(Parsed({"-o" + std::string(word.name) + "," +
                  std::string(word.opposite)})
              .mount_attributes == 0);
  }
}

TEST_CASE("README names every option and every word", "[options][table]") {
  std::string readme = FileText(std::string(HANDLEFS_ROOT) + "/README.md");
  auto table = readme.substr(readme.find("\n## Options"));
  table.resize(table.find("\n## ", 5));
  for (const OptionRow& row : OptionTable()) {
    INFO(row.name);
    std::string name(row.name);
    bool stands = Mentions(table, "`" + name + "`") ||
                  Mentions(table, "`" + name + "=") ||
                  Mentions(table, "`--" + Dashed(name)) ||
                  (row.letter != 0 &&
                   Mentions(table, std::string("`-") + row.letter + "`"));
    CHECK(stands);
    if (row.scope == OptionScope::kCommandLine) continue;
    for (const std::string& word : Words(row.metavar)) {
      CHECK(Mentions(table, word));
    }
  }
  for (const MountWord& word : MountWords()) {
    INFO(word.name);
    CHECK(Mentions(table, std::string(word.name)));
  }
}

}  // namespace
}  // namespace handlefs::test
