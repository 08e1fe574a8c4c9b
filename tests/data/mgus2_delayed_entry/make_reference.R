# Competing risks with delayed entry, on age in months, and errors by cluster (year of diagnosis): survfit of several
# states, Kaplan-Meier, finegray with the weights of Geskus. Data: ../mgus2_competing_risks/data.csv.
suppressPackageStartupMessages({library(survival); library(jsonlite)})
d <- read.csv("../mgus2_competing_risks/data.csv"); K <- coxph.control(eps = 1e-11, iter.max = 50)
d$etime <- ifelse(d$pstat == 0, d$futime, d$ptime); d$ev <- ifelse(d$pstat == 0, 2 * d$death, 1)
d$male <- as.integer(d$sex == "M"); d$entry <- 12 * d$age; d$exit <- d$entry + d$etime; tt <- c(780, 840, 900, 960)
d <- d[d$exit > 720, ]; d$entry <- pmax(d$entry, 720)  # given alive and without progression at 60
one <- function(s) { u <- summary(s, times = tt, extend = TRUE); list(progression = u$pstate[, 2], death = u$pstate[, 3],
  se_progression = u$std.err[, 2], se_death = u$std.err[, 3]) }
aj <- function(m) { x <- d[d$male == m, ]; one(survfit(Surv(entry, exit, factor(ev, 0:2)) ~ 1, x, id = id)) }
two <- function(s) { u <- summary(s, times = tt, extend = TRUE); list(surv = u$surv, se = u$std.err) }
km <- function(m) { x <- d[d$male == m, ]; list(greenwood = two(survfit(Surv(entry, exit, ev > 0) ~ 1, x)),
  cluster_dxyr = two(survfit(Surv(entry, exit, ev > 0) ~ 1, x, cluster = dxyr))) }
cc <- d[!is.na(d$mspike), ]
fg <- function(e) { f <- finegray(Surv(entry, exit, factor(ev, 0:2)) ~ male + mspike + id, data = cc, id = id, etype = as.character(e))
  m <- coxph(Surv(fgstart, fgstop, fgstatus) ~ male + mspike, f, weights = fgwt, ties = "breslow", cluster = id, control = K)
  list(coef = as.list(coef(m)), se_by_person = as.list(sqrt(diag(vcov(m))))) }
out <- list(case = "mgus2_delayed_entry", n = nrow(d), n_fine_gray = nrow(cc), months = tt, r = R.version.string, survival = as.character(packageVersion("survival")),
  aalen_johansen = list(female = aj(0), male = aj(1)), kaplan_meier_any = list(female = km(0), male = km(1)),
  fine_gray_geskus_breslow = list(progression = fg(1), death = fg(2)))
writeLines(toJSON(out, digits = NA, auto_unbox = TRUE, pretty = TRUE), "reference.json")
