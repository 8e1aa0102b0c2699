#include "cli/terminal.h"

#include <cerrno>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"

namespace mptd::cli {

bool Terminal::Print(std::string_view text) {
  if (write_error_ != 0) return false;
  errno = 0;
  streams_.out->write(text.data(), static_cast<std::streamsize>(text.size()));
  streams_.out->flush();
  if (!streams_.out->good()) write_error_ = errno != 0 ? errno : EIO;
  return write_error_ == 0;
}

void Terminal::Error(std::string_view text) { *streams_.err << "mptctl: " << text << '\n' << std::flush; }

void Terminal::Note(std::string_view text) { *streams_.err << text << std::flush; }

bool Terminal::Confirm(std::string_view question) {
  Note(question);
  Note(" [y/N] ");
  std::string answer;
  if (!std::getline(*streams_.in, answer)) Note("\n");
  answer = std::string(absl::StripAsciiWhitespace(answer));
  return absl::EqualsIgnoreCase(answer, "y") || absl::EqualsIgnoreCase(answer, "yes");
}

}  // namespace mptd::cli
