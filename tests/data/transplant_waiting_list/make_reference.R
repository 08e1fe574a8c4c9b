# Waiting for a liver: death, transplant or withdrawal. Run inside this folder (R 4.2.2, survival 3.5.3, cmprsk 2.2.11).
suppressPackageStartupMessages({library(survival); library(cmprsk); library(jsonlite)})
d <- survival::transplant; d <- d[!is.na(d$age), ]
d$male <- as.integer(d$sex == "m"); d$futime <- pmax(d$futime, 0.5); d$death <- as.integer(d$event == "death")
write.csv(d[, c("male", "age", "futime", "event", "death")], "data.csv", row.names = FALSE)
times <- c(30, 90, 200, 500)
a <- summary(survfit(Surv(futime, event) ~ male, d), times = times)
state <- function(m, k) as.numeric(m[, match(k, a$states)])
out <- list(states = list(arm = ifelse(a$strata == "male=1", "treated", "untreated"), time = a$time))
for (k in c("death", "ltx", "withdraw")) out$states[[k]] <- list(estimate = state(a$pstate, k), se = state(a$std.err, k))
for (k in c("death", "ltx")) {
  f <- crr(d$futime, as.integer(d$event) - 1, cbind(male = d$male, age = d$age),
           failcode = which(levels(d$event) == k) - 1, gtol = 1e-12, maxiter = 100)
  out$crr[[k]] <- list(coef = as.list(f$coef), se = as.list(setNames(sqrt(diag(f$var)), names(f$coef)))) }
d$row <- seq_len(nrow(d)); g <- finegray(Surv(futime, event) ~ ., d, etype = "death")
f <- coxph(Surv(fgstart, fgstop, fgstatus) ~ male + age + cluster(row), g, weights = fgwt, ties = "breslow",
           control = coxph.control(eps = 1e-12, iter.max = 100, toler.chol = 1e-13))
out$finegray <- list(coef = as.list(coef(f)), se = as.list(setNames(sqrt(diag(vcov(f))), names(coef(f)))))
write_json(out, "reference.json", digits = NA, auto_unbox = TRUE)
