#include <algorithm>
#include <cctype>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "daemon/options_table.h"
#include "generate.h"

namespace handlefs::docs {
namespace {

// A word that may be completed, wherever options stand.
struct Word {
  std::string name;
  std::string help;
  OptionValue value = OptionValue::kNone;
  std::vector<std::string> values;
  enum class Other { kNone, kFile, kOption } other = Other::kNone;
};

std::string Upper(std::string text) {
  text[0] = static_cast<char>(std::toupper(text[0]));
  return text;
}

Word WordOf(const OptionRow& row) {
  Word word{.name = std::string(row.name),
            .help = std::string(row.help),
            .value = row.value,
            .values = {}};
  std::string_view left = row.metavar;
  while (!left.empty()) {
    size_t end = std::min(left.find('|'), left.size());
    std::string_view value = left.substr(0, end);
    left.remove_prefix(std::min(end + 1, left.size()));
    if (value == "PATH" || value == "FILE") {
      word.other = Word::Other::kFile;
    } else if (value == "OPTION") {
      word.other = Word::Other::kOption;
    } else if (std::islower(value[0]) != 0) {
      word.values.emplace_back(value);
    }
  }
  if (row.name == "dialect") {
    word.values.emplace_back("auto");
    for (const proto::Dialect* dialect : proto::Dialects()) {
      word.values.emplace_back(dialect->name);
    }
  }
  return word;
}

std::vector<std::string> OptionNames() {
  std::vector<std::string> names;
  for (const OptionRow& row : OptionTable()) names.emplace_back(row.name);
  return names;
}

std::vector<Word> TableWords() {
  std::vector<Word> words;
  for (const OptionRow& row : OptionTable()) {
    words.push_back(WordOf(row));
    if (words.back().other == Word::Other::kOption) {
      for (const std::string& name : OptionNames()) {
        words.back().values.push_back(name);
      }
    }
  }
  return words;
}

// Those that stand in -o alone.
std::vector<Word> ListWords() {
  std::vector<Word> words;
  for (const OptionRow& row : OptionTable()) {
    if (row.group != OptionGroup::kAsk || row.name == "config") {
      words.push_back(WordOf(row));
    }
  }
  words.push_back({.name = "rw", .help = "mount read-write", .values = {}});
  for (const MountWord& word : MountWords()) {
    words.push_back({.name = std::string(word.name),
                     .help = std::string(word.help),
                     .values = {}});
    if (!word.opposite.empty()) {
      words.push_back(
          {.name = std::string(word.opposite),
           .help = absl::StrCat("the opposite of ", std::string(word.name)),
           .values = {}});
    }
  }
  return words;
}

std::string Dashed(const std::string& name) {
  return absl::StrReplaceAll(name, {{"_", "-"}});
}

std::string Join(const std::vector<std::string>& values) {
  std::string out;
  for (const std::string& value : values) {
    absl::StrAppend(&out, out.empty() ? "" : " ", value);
  }
  return out;
}

constexpr char kControlCommands[] =
    "status stats metrics trace path drop-caches drain restart upgrade abort";
constexpr char kMade[] = "Made from the table of options.";

// In single quotes of bash and zsh.
std::string Quoted(const std::string& text) {
  return absl::StrReplaceAll(text, {{"'", "'\\''"}});
}

// Inside of a description of zsh's _arguments and _values.
std::string ZshText(const std::string& text) {
  return Quoted(absl::StrReplaceAll(
      text, {{"[", "("}, {"]", ")"}, {":", ";"}, {"\\", "\\\\"}}));
}

std::string ZshAction(const Word& word) {
  if (word.value == OptionValue::kNone) return "";
  std::string colon = word.value == OptionValue::kOptional ? "::" : ":";
  std::string action = " ";
  if (!word.values.empty()) {
    action = absl::StrCat("(", Join(word.values), ")");
  } else if (word.other == Word::Other::kFile) {
    action = "_files";
  }
  return absl::StrCat(colon, word.name, ":", action);
}

std::string FishQuoted(const std::string& text) {
  return absl::StrReplaceAll(text, {{"\\", "\\\\"}, {"'", "\\'"}});
}

}  // namespace

std::string BashCompletion() {
  std::string names, list, values;
  for (const Word& word : TableWords()) {
    const char* tail = word.value == OptionValue::kNeeded ? "=" : "";
    absl::StrAppend(&names, " --", Dashed(word.name), tail);
  }
  for (const Word& word : ListWords()) {
    const char* tail = word.value == OptionValue::kNeeded ? "=" : "";
    absl::StrAppend(&list, " ", word.name, tail);
  }
  for (const Word& word : TableWords()) {
    if (!word.values.empty()) {
      absl::StrAppend(&values, "    ", word.name, ") words='",
                      Join(word.values), "' ;;\n");
    }
  }
  std::string files;
  for (const Word& word : TableWords()) {
    if (word.other == Word::Other::kFile) {
      absl::StrAppend(&files, files.empty() ? "" : " | ", word.name);
    }
  }
  return absl::StrCat(
      "# bash completion for handlefs. ", kMade,
      "\n"
      "\n"
      "# _handlefs_value NAME PARTIAL: its values.\n"
      "_handlefs_value() {\n"
      "  local words=\n"
      "  case ${1//-/_} in\n",
      values,
      "  esac\n"
      "  [ -z \"$words\" ] || compgen -W \"$words\" -- \"$2\"\n"
      "  case ${1//-/_} in\n"
      "    ",
      files,
      ") compgen -f -- \"$2\" ;;\n"
      "  esac\n"
      "}\n"
      "\n"
      "# _handlefs_list WORDS LIST: goes on with the last word of a list of "
      "options.\n"
      "_handlefs_list() {\n"
      "  local last=${2##*,} before name value\n"
      "  before=${2%\"$last\"}\n"
      "  if [[ $last == *=* ]]; then\n"
      "    name=${last%%=*}\n"
      "    while read -r value; do echo \"$before$name=$value\"; done < "
      "<(_handlefs_value \"$name\" \"${last#*=}\")\n"
      "  else\n"
      "    while read -r value; do echo \"$before$value\"; done < <(compgen -W "
      "\"$1\" -- \"$last\")\n"
      "  fi\n"
      "}\n"
      "\n"
      "_handlefs() {\n"
      "  local line=${COMP_LINE:0:COMP_POINT} cur prev name value before=() "
      "found=()\n"
      "  local list='",
      list,
      "'\n"
      "  cur=${line##*[[:space:]]}\n"
      "  read -r -a before <<<\"${line%\"$cur\"}\"\n"
      "  prev=${before[-1]}\n"
      "  if [[ $1 == *mount.handlefs ]]; then list+=' remount setuid= "
      "drop_privileges sloppy'; fi\n"
      "  if [[ $prev == -o ]]; then\n"
      "    mapfile -t found < <(_handlefs_list \"$list\" \"$cur\")\n"
      "  elif [[ $cur == -o* ]]; then\n"
      "    while read -r value; do found+=(\"-o$value\"); done < "
      "<(_handlefs_list \"$list\" \"${cur#-o}\")\n"
      "  elif [[ $1 == *mount.handlefs && $cur == -* ]]; then\n"
      "    mapfile -t found < <(compgen -W '-f -n -s -v -N -o -h -V' -- "
      "\"$cur\")\n"
      "  elif [[ $cur == --*=* ]]; then\n"
      "    name=${cur%%=*}\n"
      "    while read -r value; do found+=(\"$name=$value\"); done < "
      "<(_handlefs_value \"${name#--}\" \"${cur#*=}\")\n"
      "  elif [[ $cur == -* ]]; then\n"
      "    mapfile -t found < <(compgen -W '-f -d -s -h -V -o",
      names,
      "' -- \"$cur\")\n"
      "  else\n"
      "    mapfile -t found < <(compgen -d -- \"$cur\")\n"
      "    compopt -o filenames 2>/dev/null\n"
      "  fi\n"
      "  # The shell replaces only what stands behind the last '='.\n"
      "  if [[ $cur == *=* && $COMP_WORDBREAKS == *=* ]]; then\n"
      "    found=(\"${found[@]#\"${cur%=*}=\"}\")\n"
      "  fi\n"
      "  COMPREPLY=(\"${found[@]}\")\n"
      "  if [[ ${#found[@]} == 1 && ${found[0]} == *= ]]; then compopt -o "
      "nospace 2>/dev/null; fi\n"
      "}\n"
      "\n"
      "# Mount points are taken from the table: looking at one can hang.\n"
      "_handlefsctl() {\n"
      "  local cur=${COMP_WORDS[COMP_CWORD]} i place=0\n"
      "  for ((i = 1; i < COMP_CWORD; i++)); do\n"
      "    [[ ${COMP_WORDS[i]} == -* ]] || place=$((place + 1))\n"
      "  done\n"
      "  if [[ $cur == -* ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '--json --help --version' -- "
      "\"$cur\")\n"
      "  elif [[ $place == 0 ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W \"$(findmnt -rno TARGET -t "
      "fuse.handlefs)\" -- \"$cur\")\n"
      "  elif [[ $place == 1 ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W '",
      kControlCommands,
      "' -- \"$cur\")\n"
      "  elif [[ ${COMP_WORDS[*]} == *' trace '* ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -W 'on off follow' -- "
      "\"$cur\")\n"
      "  elif [[ ${COMP_WORDS[*]} == *' upgrade '* ]]; then\n"
      "    mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
      "  fi\n"
      "}\n"
      "\n"
      "complete -F _handlefs handlefs mount.handlefs\n"
      "complete -F _handlefsctl handlefsctl\n");
}

std::string ZshCompletion() {
  std::string arguments, values;
  for (const Word& word : TableWords()) {
    const char* tail = word.value == OptionValue::kNone       ? ""
                       : word.value == OptionValue::kOptional ? "=-"
                                                              : "=";
    absl::StrAppend(&arguments, "    '--", Dashed(word.name), tail, "[",
                    ZshText(word.help), "]", ZshAction(word), "'\n");
  }
  for (const OptionRow& row : OptionTable()) {
    if (row.letter == 0) continue;
    absl::StrAppend(&arguments, "    '-", std::string(1, row.letter), "[",
                    ZshText(std::string(row.help)), "]'\n");
  }
  for (const Word& word : ListWords()) {
    absl::StrAppend(&values, "    '", word.name, "[", ZshText(word.help), "]",
                    ZshAction(word), "'\n");
  }
  return absl::StrCat(
      "#compdef handlefs mount.handlefs handlefsctl\n"
      "# ",
      kMade,
      "\n"
      "\n"
      "_handlefsctl() {\n"
      "  local -a mounts\n"
      "  mounts=(${(f)\"$(findmnt -rno TARGET -t fuse.handlefs)\"})\n"
      "  _arguments '--json[the answer as it is]' '--help[help]' "
      "'--version[the version]' \\\n"
      "    \"1:mount point:(${mounts[*]})\" '2:command:(",
      kControlCommands,
      ")' \\\n"
      "    '3:argument:{ if [[ $words[(I)trace] != 0 ]]; then compadd on off "
      "follow; else _files; fi }'\n"
      "}\n"
      "\n"
      "_handlefs() {\n"
      "  if [[ $service == handlefsctl ]]; then _handlefsctl; return; fi\n"
      "  local context state line\n"
      "  local -A opt_args\n"
      "  local -a long list\n"
      "  long=(\n",
      arguments,
      "    '-s[threads=1]'\n"
      "  )\n"
      "  list=(\n",
      values,
      "  )\n"
      "  if [[ $service == mount.handlefs ]]; then\n"
      "    long=('-f[do not mount]' '-n[nothing]' '-s[pass over unknown "
      "options]' '-v[show what is run]'\n"
      "      '-N+[mount namespace]:namespace:_files' '-h[help]' "
      "'-V[version]')\n"
      "    list+=('remount[new flags for a live mount]' 'setuid[serve as this "
      "user]:user:_users'\n"
      "      'drop_privileges[serve without capabilities]' 'sloppy[pass over "
      "unknown options]')\n"
      "  fi\n"
      "  _arguments -s $long '*-o+[options]:options:->options' "
      "'1:source:_files -/' '2:mount point:_files -/'\n"
      "  [[ $state == options ]] && _values -s , option $list\n"
      "}\n"
      "\n"
      "_handlefs \"$@\"\n");
}

std::string FishCompletion() {
  std::string out =
      absl::StrCat("# fish completion for handlefs. ", kMade,
                   "\n"
                   "\n"
                   "function __handlefs_values --argument-names name\n"
                   "    switch $name\n");
  for (const Word& word : TableWords()) {
    if (word.values.empty()) continue;
    absl::StrAppend(&out, "        case ", word.name,
                    "\n            string split ' ' -- '", Join(word.values),
                    "'\n");
  }
  absl::StrAppend(&out,
                  "    end\n"
                  "end\n"
                  "\n"
                  "function __handlefs_names\n");
  for (const Word& word : ListWords()) {
    const char* tail = word.value == OptionValue::kNeeded ? "=" : "";
    absl::StrAppend(&out, "    echo '", word.name, tail, "\t",
                    FishQuoted(Upper(word.help)), "'\n");
  }
  absl::StrAppend(
      &out,
      "end\n"
      "\n"
      "# Goes on with the last word of a list of options.\n"
      "function __handlefs_list\n"
      "    set -l token (commandline -ct | string replace -r '^-o' '')\n"
      "    set -l before (string match -r '.*,' -- $token)\n"
      "    set -l last (string replace -r '.*,' '' -- $token)\n"
      "    if string match -q '*=*' -- $last\n"
      "        set -l name (string split -m 1 = -- $last)[1]\n"
      "        for value in (__handlefs_values $name)\n"
      "            echo \"$before$name=$value\"\n"
      "        end\n"
      "    else\n"
      "        for name in (__handlefs_names) $argv\n"
      "            echo \"$before$name\"\n"
      "        end\n"
      "    end\n"
      "end\n"
      "\n"
      "complete -c handlefs -x -a '(__fish_complete_directories)'\n"
      "complete -c handlefs -s o -x -a '(__handlefs_list)' -d 'Options'\n"
      "complete -c handlefs -s s -d 'One thread'\n");
  for (const Word& word : TableWords()) {
    const OptionRow* row = FindOption(word.name);
    absl::StrAppend(&out, "complete -c handlefs -l ", Dashed(word.name));
    if (word.value == OptionValue::kNeeded && word.values.empty()) {
      absl::StrAppend(&out,
                      word.other == Word::Other::kFile ? " -r -F" : " -x");
    } else if (word.value == OptionValue::kNeeded) {
      absl::StrAppend(&out, " -x -a '(__handlefs_values ", word.name, ")'");
    } else if (word.value == OptionValue::kOptional) {
      absl::StrAppend(&out, " -f -a '(__handlefs_values ", word.name, ")'");
    } else {
      absl::StrAppend(&out, " -f");
    }
    std::string about =
        absl::StrCat(" -d '", FishQuoted(Upper(word.help)), "'\n");
    absl::StrAppend(&out, about);
    // A letter takes no value.
    if (row->letter != 0) {
      absl::StrAppend(&out, "complete -c handlefs -s ",
                      std::string(1, row->letter), about);
    }
  }
  absl::StrAppend(
      &out,
      "\n"
      "complete -c mount.handlefs -x -a '(__fish_complete_directories)'\n"
      "complete -c mount.handlefs -s o -x -a '(__handlefs_list remount "
      "setuid= drop_privileges sloppy)' -d 'Options'\n"
      "complete -c mount.handlefs -s f -d 'Do not mount'\n"
      "complete -c mount.handlefs -s s -d 'Pass over unknown options'\n"
      "complete -c mount.handlefs -s v -d 'Show what is run'\n"
      "complete -c mount.handlefs -s N -r -F -d 'Mount namespace'\n"
      "\n"
      "# The words behind the command that are no options.\n"
      "function __handlefsctl_place\n"
      "    test (count (string match -v -- '-*' (commandline -opc))) -eq "
      "$argv[1]\n"
      "end\n"
      "complete -c handlefsctl -f\n"
      "complete -c handlefsctl -n '__handlefsctl_place 1' -a '(findmnt -rno "
      "TARGET -t fuse.handlefs)'\n"
      "complete -c handlefsctl -n '__handlefsctl_place 2' -a '",
      kControlCommands,
      "'\n"
      "complete -c handlefsctl -n '__handlefsctl_place 3; and "
      "__fish_seen_subcommand_from trace' -a 'on off follow'\n"
      "complete -c handlefsctl -n '__handlefsctl_place 3; and "
      "__fish_seen_subcommand_from upgrade' -F\n"
      "complete -c handlefsctl -l json -d 'The answer as it is'\n"
      "complete -c handlefsctl -s h -l help -d 'Help'\n"
      "complete -c handlefsctl -s V -l version -d 'The version'\n");
  return out;
}

}  // namespace handlefs::docs
