// Reads this machine and the data folder for the checks. Changes nothing; safe from any thread.
#pragma once

#include "checkup/readings.h"
#include "config/config.h"

namespace mptd::checkup {

// Takes a second or two: the disk is measured, and the change log is read.
Readings ReadMachine(const config::Settings& settings);

// Its parts that depend on more than the machine.
FolderReading ReadFolder(const std::string& data_dir);
DataReading ReadData(const std::string& data_dir, const storage::KeySource& key);
// Whether a daemon could listen on server.listen's or server.http_listen's form of an address.
absl::Status CanListen(const std::string& address);

}  // namespace mptd::checkup
